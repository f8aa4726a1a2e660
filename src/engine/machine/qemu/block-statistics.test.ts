import { expect, test } from "vitest";
import { diskBytes } from "./block-statistics.ts";

test("disks are added up, and what is no answer counts nothing", () => {
  const disk = (rd_bytes: unknown, wr_bytes: unknown) => ({
    qdev: "x",
    stats: { rd_bytes, wr_bytes, other: 1 },
  });
  expect(diskBytes([disk(1, 2), disk(10, 20)])).toEqual({ diskReadBytes: 11, diskWrittenBytes: 22 });
  const nothing = { diskReadBytes: 0, diskWrittenBytes: 0 };
  for (const odd of [undefined, null, {}, [disk(-1, 2)], [disk("1", 2)], [{}], Array(65).fill(disk(1, 1))]) {
    expect(diskBytes(odd)).toEqual(nothing);
  }
  const most = Number.MAX_SAFE_INTEGER;
  expect(diskBytes([disk(most, 0), disk(most, 0)]).diskReadBytes).toBe(most);
});
