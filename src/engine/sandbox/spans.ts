import type { Span } from "../../contract/index.ts";

/** The steps of one operation and when they took place. */
export class Spans {
  readonly list: Span[] = [];
  private readonly origin = performance.now();

  /** Times `work`, also if it fails. */
  async time<T>(name: string, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.add(name, start - this.origin, performance.now() - start);
    }
  }

  add(name: string, startMs: number, durationMs: number): void {
    this.list.push({ name, startMs: round(startMs), durationMs: round(durationMs) });
  }

  /** Milliseconds since this object was made. */
  elapsed(): number {
    return performance.now() - this.origin;
  }
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
