import { type DeltaFiles, type Run, writeDelta } from "./delta.ts";
import { PageSources } from "./page-sources.ts";
import type { Segment } from "./segments.ts";

/**
 * Makes the levels one, which becomes level 0 of `directory`: the newest of each page. Returns its number of pages.
 * @param deltas oldest first. @throws `internal` if one is damaged
 */
export async function flatten(
  deltas: readonly DeltaFiles[],
  memoryBytes: number,
  directory: string,
): Promise<number> {
  await using sources = await PageSources.open(deltas, memoryBytes);
  return await writeDelta(directory, 0, joined(sources.segments), async function* ({ segments }) {
    for (const segment of segments) yield* sources.read(segment);
  });
}

interface JoinedRun extends Run {
  segments: Segment[];
}

/** Segments that touch become one run, wherever they come from. */
function joined(segments: readonly Segment[]): JoinedRun[] {
  const runs: JoinedRun[] = [];
  for (const segment of segments) {
    const last = runs.at(-1);
    if (last !== undefined && last.page + last.count === segment.page) {
      last.count += segment.count;
      last.segments.push(segment);
    } else runs.push({ page: segment.page, count: segment.count, segments: [segment] });
  }
  return runs;
}
