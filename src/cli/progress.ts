import type { Progress } from "../sdk/index.ts";
import type { ProgressView } from "./progress-view.ts";

/** Nobody wants to read of what is over before it is read. */
const PATIENCE_MS = 500;

/**
 * Tells on stderr what takes longer than half a second. The command's own output never mixes with it: `done` wipes it first.
 * What shows it is loaded only when there is something to show: most commands are over before.
 */
export class ProgressDisplay implements Disposable {
  readonly #began = performance.now();
  readonly #patienceMs: number;
  #pending: Progress[] = [];
  #view: ProgressView | undefined;
  #timer: NodeJS.Timeout | undefined;
  #done = false;

  /** @param patienceMs how long nothing is shown. Default: 500 */
  constructor({ patienceMs = PATIENCE_MS }: { patienceMs?: number } = {}) {
    this.#patienceMs = patienceMs;
  }

  readonly update = (progress: Progress): void => {
    if (this.#done) return;
    if (this.#view !== undefined) {
      this.#view.update(progress);
      return;
    }
    this.#pending.push(progress);
    const left = this.#patienceMs - (performance.now() - this.#began);
    this.#timer ??= setTimeout(() => void this.#open(), Math.max(0, left));
  };

  /** There is nothing more to wait for. */
  readonly done = (): void => {
    if (this.#done) return;
    this.#done = true;
    clearTimeout(this.#timer);
    this.#view?.done();
  };

  [Symbol.dispose](): void {
    this.done();
  }

  async #open(): Promise<void> {
    const { openView } = await import("./open-view.ts");
    if (this.#done) return;
    this.#view = openView({ beganMs: this.#began });
    for (const progress of this.#pending) this.#view.update(progress);
    this.#pending = [];
  }
}
