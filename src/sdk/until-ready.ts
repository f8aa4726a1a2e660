import { setTimeout as sleep } from "node:timers/promises";
import { SandboxError } from "../contract/errors.ts";
import type { LogRecord } from "../contract/index.ts";
import { cancelled } from "./deadline.ts";
import type { ExecResult } from "./exec-result.ts";
import type { SandboxProcess } from "./processes.ts";
import type { Sandbox } from "./sandbox.ts";

const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 1_000;
/** Lines of output that an error shows. */
const SHOWN_LINES = 5;

export interface Readiness {
  /** Name of what becomes ready, for errors. */
  as: string;
  run: string;
  ready: string | undefined;
  timeoutMs: number;
  signal: AbortSignal | undefined;
}

/**
 * Starts a script and waits until what it does is ready: until another script ends with 0, or without one until it has ended itself.
 *
 * @throws SandboxError `invalid_argument` (the script failed), `timeout`, `cancelled`
 */
export async function untilReady(sandbox: Sandbox, readiness: Readiness): Promise<void> {
  const { as, run, ready, timeoutMs, signal } = readiness;
  const time = AbortSignal.timeout(timeoutMs);
  const settled = new AbortController();
  const over = AbortSignal.any([time, settled.signal, ...(signal ? [signal] : [])]);
  let last: ExecResult | undefined;
  try {
    const shell = sandbox.info.spec.shell;
    const process = await sandbox.processes.start(shell, ["-c", run], { signal: over });
    const ended = hasEnded(sandbox, process, as, over);
    if (ready === undefined) return await ended;
    // When the script has ended well, it is the other one that says when all is ready.
    const failed = ended.then(() => new Promise<never>(() => {}));
    failed.catch(() => {});
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      last = await Promise.race([failed, sandbox.shell(ready, { signal: over })]);
      if (last.exitCode === 0) return;
      await Promise.race([failed, sleep(pauseMs, undefined, { signal: over })]);
    }
  } catch (error) {
    if (signal?.aborted) throw cancelled(signal, error);
    if (time.aborted) throw tooLate(readiness, last);
    throw error;
  } finally {
    settled.abort();
  }
}

/** Resolves when it has ended with 0. */
async function hasEnded(
  sandbox: Sandbox,
  process: SandboxProcess,
  as: string,
  signal: AbortSignal,
): Promise<void> {
  const { state, exit } = await process.wait({ signal });
  if (state === "ended" && exit?.exitCode === 0) return;
  const output: string[] = [];
  for await (const record of sandbox.logs({ processes: [process.process], tail: SHOWN_LINES, signal }))
    output.push(textOf(record));
  const lines = output.join("").trimEnd().split("\n").slice(-SHOWN_LINES).join("\n");
  const how = exit === undefined ? "was lost with its VM" : `ended with ${exit.exitCode}`;
  throw new SandboxError(
    "invalid_argument",
    `'${as}' cannot be prepared: its script ${how}${lines === "" ? "" : `:\n${lines}`}`,
    {
      hint: "Try it by hand in a sandbox of the image: msb run",
      details: { scriptExitCode: exit?.exitCode, output: lines },
    },
  );
}

function tooLate({ as, ready, timeoutMs }: Readiness, last: ExecResult | undefined): SandboxError {
  const after = `'${as}' was not ready after ${timeoutMs / 1000} s`;
  if (ready === undefined)
    return new SandboxError("timeout", `${after}: its script runs on`, {
      hint: "If it is to run on, say how to know that it is ready: --ready 'CMD'",
    });
  const said = (last?.stderr || last?.stdout || "").trimEnd().split("\n").slice(-SHOWN_LINES).join("\n");
  const how = last === undefined ? "was never answered" : `ended with ${last.exitCode}`;
  return new SandboxError("timeout", `${after}: \`${ready}\` ${how}${said === "" ? "" : `:\n${said}`}`, {
    hint: "Give it more time: --ready-timeout 10m",
    details: { scriptExitCode: last?.exitCode, output: said },
  });
}

function textOf({ text, base64 = "" }: LogRecord): string {
  return text ?? Buffer.from(base64, "base64").toString();
}
