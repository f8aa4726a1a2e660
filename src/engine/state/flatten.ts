import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { writeFully } from "../write-fully.ts";
import { type DeltaFiles, deltaFiles, writeRuns } from "./delta.ts";
import { DELTAS } from "./layout.ts";
import { PageSources } from "./page-sources.ts";
import { runsOf } from "./segments.ts";

/**
 * Makes the levels one, which becomes level 0 of `directory`: the newest of each page. Returns its number of pages.
 * @param deltas oldest first. @throws `internal` if one is damaged
 */
export async function flatten(
  deltas: readonly DeltaFiles[],
  memoryBytes: number,
  directory: string,
): Promise<number> {
  await mkdir(join(directory, DELTAS), { recursive: true, mode: 0o700 });
  await using sources = await PageSources.open(deltas, memoryBytes);
  const { pages, runs } = deltaFiles(directory, 0);
  await using file = await open(pages, "wx", 0o600);
  let at = 0;
  for await (const { bytes } of sources.read(sources.segments)) {
    await writeFully(file, bytes, at);
    at += bytes.length;
  }
  return await writeRuns(runs, runsOf(sources.segments));
}
