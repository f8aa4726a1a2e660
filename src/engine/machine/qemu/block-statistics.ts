import { z } from "zod";

/** More disks than a machine has. */
const MAX_DISKS = 64;

const counter = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const answer = z
  .array(z.object({ stats: z.object({ rd_bytes: counter, wr_bytes: counter }) }))
  .max(MAX_DISKS);

/** Adds up QEMU's `query-blockstats`. QEMU may be the guest's by now: what is not understood counts nothing. */
export function diskBytes(value: unknown): { diskReadBytes: number; diskWrittenBytes: number } {
  const disks = answer.safeParse(value).data ?? [];
  const sum = (key: "rd_bytes" | "wr_bytes") =>
    Math.min(
      disks.reduce((total, { stats }) => total + stats[key], 0),
      Number.MAX_SAFE_INTEGER,
    );
  return { diskReadBytes: sum("rd_bytes"), diskWrittenBytes: sum("wr_bytes") };
}
