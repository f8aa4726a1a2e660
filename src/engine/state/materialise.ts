/** Makes one file of a chain: what a VMM maps as its memory. */

import { open } from "node:fs/promises";
import { copySparse } from "../copy-sparse.ts";
import { writeFully } from "../write-fully.ts";
import { type DeltaFiles, PAGE_BYTES } from "./delta.ts";
import { allOrThrow, PageSources } from "./page-sources.ts";
import { runsOf } from "./segments.ts";

/** Copying 64 GiB from and to a slow disk takes as long. */
const COPY_DEADLINE_MS = 600_000;

/**
 * Writes the memory of `base` with `deltas` (oldest first) on it to `target`, which must not exist. It has holes where the base has
 * some, and shares the base's blocks where the file system can. What was written before an error stays. Nobody cancels it: several may
 * wait for the same memory.
 *
 * @throws `internal` if a level is damaged, `resource_exhausted`, `timeout`
 */
export async function materialise(
  base: string,
  deltas: readonly DeltaFiles[],
  target: string,
): Promise<void> {
  await copySparse(base, target, { what: "a stored memory", sparse: "auto", deadlineMs: COPY_DEADLINE_MS });
  await applyLevels(deltas, target);
}

/** Writes levels (oldest first) over the memory in `target`. @throws as `materialise` */
export async function applyLevels(deltas: readonly DeltaFiles[], target: string): Promise<void> {
  await using memory = await open(target, "r+");
  await using sources = await PageSources.open(deltas, (await memory.stat()).size);
  for await (const { segments, bytes } of sources.read(sources.segments)) {
    let from = 0;
    const writes = runsOf(segments).map(({ page, count }) => {
      const part = bytes.subarray(from, from + count * PAGE_BYTES);
      from += part.length;
      return writeFully(memory, part, page * PAGE_BYTES);
    });
    await allOrThrow(writes);
  }
}
