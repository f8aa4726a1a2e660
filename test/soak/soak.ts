/** The parts of a soak, by name. Each prints what it saw and gives back what was not as promised. */
export type Soak = Record<string, (n?: number) => Promise<string[]>>;

/** Collects what does not hold. */
export class Promises {
  readonly broken: string[] = [];

  /** @param text what should be, and what is */
  holds(kept: boolean, text: string): void {
    if (!kept) this.broken.push(text);
  }
}

export async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}
