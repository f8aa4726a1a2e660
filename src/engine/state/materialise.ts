/** Makes one file of a chain: what a VMM maps as its memory. */

import { execFile } from "node:child_process";
import { open } from "node:fs/promises";
import { promisify } from "node:util";
import { SandboxError } from "../../contract/index.ts";
import { diskFull } from "../storage-error.ts";
import { writeFully } from "../write-fully.ts";
import { type DeltaFiles, PAGE_BYTES } from "./delta.ts";
import { allSettled, PageSources } from "./page-sources.ts";
import { runsOf } from "./segments.ts";

const run = promisify(execFile);
/** Copying 64 GiB from and to a slow disk takes as long. */
const COPY_DEADLINE_MS = 600_000;

export interface MaterialiseOptions {
  signal?: AbortSignal | undefined;
}

/**
 * Writes the memory of `base` with `deltas` (oldest first) on it to `target`, which must not exist. It has holes where the base has
 * some, and shares the base's blocks where the file system can. What was written before an error stays.
 *
 * @throws `internal` if a level is damaged, `resource_exhausted`, `cancelled`
 */
export async function materialise(
  base: string,
  deltas: readonly DeltaFiles[],
  target: string,
  options: MaterialiseOptions = {},
): Promise<void> {
  await copySparse(base, target, options.signal);
  await applyLevels(deltas, target, options);
}

/** Writes levels (oldest first) over the memory in `target`. @throws as `materialise` */
export async function applyLevels(
  deltas: readonly DeltaFiles[],
  target: string,
  { signal }: MaterialiseOptions = {},
): Promise<void> {
  await using memory = await open(target, "r+");
  await using sources = await PageSources.open(deltas, (await memory.stat()).size);
  for await (const { segments, bytes } of sources.read(sources.segments)) {
    if (signal?.aborted) throw cancelled(signal.reason);
    let from = 0;
    const writes = runsOf(segments).map(({ page, count }) => {
      const part = bytes.subarray(from, from + count * PAGE_BYTES);
      from += part.length;
      return writeFully(memory, part, page * PAGE_BYTES);
    });
    await allSettled(writes);
  }
}

/** Node has neither lseek(SEEK_DATA) nor a copy that keeps holes; coreutils' cp has both, and costs 3 ms to start. */
async function copySparse(source: string, target: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    await run("cp", ["--sparse=auto", "--reflink=auto", "--no-preserve=mode", "--", source, target], {
      env: { PATH: process.env.PATH, LC_ALL: "C" },
      timeout: COPY_DEADLINE_MS,
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (cause) {
    if (signal?.aborted) throw cancelled(cause);
    const { stderr = "", killed } = cause as { stderr?: string; killed?: boolean };
    if (killed) {
      throw new SandboxError("timeout", `a stored memory was not copied within ${COPY_DEADLINE_MS / 1000} s`);
    }
    if (/No space left|quota exceeded/i.test(stderr)) throw diskFull("copying a stored memory", cause);
    throw new SandboxError("internal", `a stored memory cannot be copied: ${stderr.trim() || cause}`, {
      cause,
    });
  }
}

function cancelled(cause: unknown): SandboxError {
  return new SandboxError("cancelled", "cancelled while a stored memory was made ready", { cause });
}
