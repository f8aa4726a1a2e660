import { expect, test } from "vitest";
import { Complaint } from "./complaint.ts";

test("is the beginning of what was said, and moves no cursor", () => {
  const complaint = new Complaint();
  expect(complaint.toString()).toBe("");
  complaint.add(Buffer.from("no \u001b[2Jdisk\n"));
  expect(complaint.toString()).toBe("no \uFFFD[2Jdisk");
  for (let i = 0; i < 100; i++) complaint.add(Buffer.alloc(1000, "x"));
  expect(complaint.toString()).toHaveLength(4096);
});
