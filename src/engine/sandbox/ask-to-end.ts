import type { SandboxProcess } from "./process.ts";
import { within } from "./within.ts";

/** The image may want its main process to be ended by another signal than TERM. Returns what is left of the grace, in milliseconds. */
export async function askToEnd(
  main: SandboxProcess | undefined,
  stopSignal: string,
  graceMs: number,
): Promise<number> {
  if (main === undefined || stopSignal === "") return graceMs;
  const began = performance.now();
  try {
    main.signalTo("process", stopSignal);
  } catch {
    return graceMs; // an image may name a signal that there is not
  }
  await within(
    graceMs,
    main.exited.catch(() => {}),
  );
  return Math.max(0, Math.round(graceMs - (performance.now() - began)));
}
