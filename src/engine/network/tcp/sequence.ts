/** Sequence numbers go around at 2^32, so one is before another only by less than half of that (RFC 9293 section 3.4). */

export function plus(sequence: number, count: number): number {
  return (sequence + count) >>> 0;
}

/** How far `a` is ahead of `b`; negative when it is behind. */
export function distance(a: number, b: number): number {
  return (a - b) | 0;
}
