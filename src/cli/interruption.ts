import { constants } from "node:os";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Runs work that can be cancelled. The first signal cancels it, so that what it shows and what it has half written is cleared away;
 * the exit code is then 128 + n. A second one ends the process as ever.
 */
export async function interruptible(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const abort = new AbortController();
  let interruptedBy: (typeof SIGNALS)[number] | undefined;
  const off = () => {
    for (const name of SIGNALS) process.off(name, onSignal);
  };
  const onSignal = (name: NodeJS.Signals) => {
    interruptedBy = name as (typeof SIGNALS)[number];
    off();
    abort.abort();
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  try {
    await work(abort.signal);
  } catch (error) {
    if (interruptedBy === undefined) throw error;
    process.exitCode = 128 + constants.signals[interruptedBy];
  } finally {
    off();
  }
}
