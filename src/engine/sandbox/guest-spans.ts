import type { Spans } from "./spans.ts";

/** What the guest says its own steps took, microseconds, shown as parts of what has just ended. */
export function addGuestSpans(spans: Spans, timings: Record<string, number> = {}): void {
  const steps = Object.entries(timings);
  const total = steps.reduce((sum, [, us]) => sum + us, 0) / 1000;
  let at = Math.max(0, spans.elapsed() - total);
  for (const [name, us] of steps) {
    spans.add(`guest: ${name}`, at, us / 1000);
    at += us / 1000;
  }
}
