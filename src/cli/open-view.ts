import { PlainProgress } from "./plain-progress.ts";
import type { ProgressView } from "./progress-view.ts";
import { TerminalProgress } from "./terminal-progress.ts";

/**
 * @param beganMs when the work began, of `performance.now()`. Default: now
 * @param plain plain lines on a terminal, too
 */
export function openView({ beganMs = performance.now(), plain = false } = {}): ProgressView {
  const onTerminal = process.stderr.isTTY === true && process.env.TERM !== "dumb";
  return onTerminal && !plain ? new TerminalProgress(beganMs) : new PlainProgress();
}
