/** What is told of a series of measurements. */
export interface Summary {
  n: number;
  min: number;
  p50: number;
  p95: number;
  max: number;
}

/** Percentiles by the nearest rank. @throws if there are no values */
export function summarize(values: number[]): Summary {
  if (values.length === 0) throw new Error("nothing was measured");
  const sorted = [...values].sort((a, b) => a - b);
  const rank = (p: number) => sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)]!;
  return { n: sorted.length, min: sorted[0]!, p50: rank(0.5), p95: rank(0.95), max: sorted.at(-1)! };
}
