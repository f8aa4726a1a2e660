import { SandboxError } from "../../contract/errors.ts";

/** How long a caller waits, and how it can stop waiting. */
export interface Wait {
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * `promise`, or an error when its time has passed or the caller's signal has fired.
 *
 * @param what says what is waited for and how far it got; asked when the time has passed
 * @param giveUp is called with the error before it is thrown, to undo what was begun
 * @throws SandboxError `timeout` or `cancelled`, else what `promise` rejects with
 */
export function withDeadline<T>(
  promise: Promise<T>,
  wait: { timeoutMs: number; signal: AbortSignal | undefined },
  what: () => string,
  giveUp: (error: SandboxError) => void,
): Promise<T> {
  const { timeoutMs, signal } = wait;
  return new Promise<T>((resolve, reject) => {
    const stop = (error: SandboxError) => {
      done();
      giveUp(error);
      reject(error);
    };
    const onAbort = () => {
      stop(new SandboxError("cancelled", `cancelled while waiting for ${what()}`, { cause: signal?.reason }));
    };
    const timer = setTimeout(() => {
      stop(new SandboxError("timeout", `waited ${timeoutMs} ms in vain for ${what()}`));
    }, timeoutMs);
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
    promise.then(
      (value) => {
        done();
        resolve(value);
      },
      (error: unknown) => {
        done();
        reject(error);
      },
    );
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
  });
}
