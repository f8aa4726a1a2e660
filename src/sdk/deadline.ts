import { SandboxError } from "../contract/errors.ts";

/** One call's time and cancellation: a single signal to pass on, and the error that tells which of the two it was. */
export class Deadline implements Disposable {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #onOuter = () => this.#controller.abort();
  #timer: NodeJS.Timeout | undefined;
  #error: SandboxError | undefined;

  /** @param purpose what is waited for, as "create a sandbox" */
  constructor(purpose: string, deadlineMs: number | undefined, outer: AbortSignal | undefined) {
    this.#outer = outer;
    if (deadlineMs !== undefined && Number.isFinite(deadlineMs)) {
      this.#timer = setTimeout(() => {
        this.#error = new SandboxError("timeout", `could not ${purpose} within ${deadlineMs} ms`);
        this.#controller.abort();
      }, deadlineMs);
    }
    if (outer?.aborted) this.#controller.abort();
    else outer?.addEventListener("abort", this.#onOuter, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Runs the work; if it fails because of the deadline or the signal, says so. */
  async guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      this.#throwIfOver();
      return await work();
    } catch (error) {
      this.#throwIfOver(error);
      throw error;
    }
  }

  /** From now on only the signal counts. */
  stopClock(): void {
    clearTimeout(this.#timer);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#onOuter);
  }

  #throwIfOver(cause?: unknown): void {
    if (this.#error) throw this.#error;
    if (this.#outer?.aborted) throw cancelled(this.#outer, cause);
  }
}

export function cancelled(signal: AbortSignal, cause?: unknown): SandboxError {
  const { reason } = signal;
  if (reason instanceof SandboxError) return reason;
  if ((reason as Error | undefined)?.name === "TimeoutError") {
    return new SandboxError("timeout", "the call's AbortSignal timed out", { cause: reason });
  }
  return new SandboxError("cancelled", "the call was cancelled", { cause: reason ?? cause });
}
