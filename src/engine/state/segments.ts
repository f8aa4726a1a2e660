/** Which page comes from which level of a chain. Pure. */

/** Pages of the guest's memory that lie one after the other, both in memory and in a file of pages. */
export interface Segment {
  /** First page in memory. */
  page: number;
  count: number;
  /** Level of the chain. */
  level: number;
  /** First page in that level's file. */
  from: number;
}

/** `above` laid over `below`; both ascending and without overlaps, and so is what comes out. */
export function overlay(below: readonly Segment[], above: readonly Segment[]): Segment[] {
  const merged: Segment[] = [];
  let next = 0;
  let rest = below[next];
  const advance = (pages: number): void => {
    rest = pages < rest!.count ? cut(rest!, pages) : below[++next];
  };
  for (const top of above) {
    while (rest !== undefined && rest.page < top.page) {
      const kept = Math.min(rest.count, top.page - rest.page);
      merged.push({ ...rest, count: kept });
      advance(kept);
    }
    const end = top.page + top.count;
    while (rest !== undefined && rest.page < end) advance(Math.min(rest.count, end - rest.page));
    merged.push(top);
  }
  while (rest !== undefined) {
    merged.push(rest);
    advance(rest.count);
  }
  return merged;
}

/** Pages that lie one after the other in memory are one run, whatever level they come from. */
export function runsOf(
  segments: readonly Pick<Segment, "page" | "count">[],
): { page: number; count: number }[] {
  const runs: { page: number; count: number }[] = [];
  for (const { page, count } of segments) {
    const last = runs.at(-1);
    if (last !== undefined && last.page + last.count === page) last.count += count;
    else runs.push({ page, count });
  }
  return runs;
}

/** What is left of a segment behind its first `pages`. */
function cut({ page, count, level, from }: Segment, pages: number): Segment {
  return { page: page + pages, count: count - pages, level, from: from + pages };
}
