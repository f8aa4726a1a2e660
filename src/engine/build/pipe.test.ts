import { expect, test } from "vitest";
import { Pipe } from "./pipe.ts";

test("pieces come in order, and then the end", async () => {
  const pipe = new Pipe();
  void (async () => {
    for (const text of ["a", "", "b"]) await pipe.write(Buffer.from(text));
    pipe.end();
  })();
  const seen: string[] = [];
  for await (const piece of pipe) seen.push(piece.toString());
  expect(seen).toEqual(["a", "b"]);
});

test("a failure reaches a reader that has a piece still to take, and the writer", async () => {
  const pipe = new Pipe();
  const writing = pipe.write(Buffer.from("a"));
  writing.catch(() => {});
  pipe.fail(new Error("broke"));
  await expect(Array.fromAsync(pipe)).rejects.toThrow("broke");
  await expect(writing).rejects.toThrow("broke");
  const late = new Pipe();
  const last = late.write(Buffer.from("a"));
  last.catch(() => {});
  const reader = late[Symbol.asyncIterator]();
  await reader.next();
  late.fail(new Error("broke later"));
  await expect(reader.next()).rejects.toThrow("broke later");
});
