import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SandboxError } from "../contract/index.ts";
import { OPERATION_STEPS, type Reached } from "./sandbox/index.ts";
import { STEPS as STATE_STEPS } from "./state/index.ts";

/**
 * For tests only: an operation on stored states is broken off at a step that has a name. Of `MSB_FAULT`:
 *
 *     snapshot.taken=kill     the daemon ends as by kill -9 when a snapshot has come to this step
 *     snapshot.taken=fail     the step fails
 *     snapshot.taken=enospc   the step fails as on a disk that is full
 *     snapshot.taken=hold     it waits, with the file `fault-held` in the home, until somebody removes that
 *     /some/file              the same is read from this file whenever a step is reached; the file is removed when it was done
 *
 * A step that there is not is an error, or a test would pass that tests nothing.
 */

const FAULT_ACTIONS = ["kill", "fail", "enospc", "hold"] as const;
type Action = (typeof FAULT_ACTIONS)[number];

/** Names of all steps, `<operation>.<step>`. Those of `state` are steps of whatever stores one. */
export const FAULT_STEPS: readonly string[] = Object.entries({
  ...OPERATION_STEPS,
  state: STATE_STEPS,
}).flatMap(([operation, steps]) => steps.map((step) => `${operation}.${step}`));

const HELD_FILE = "fault-held";
/** Of a test that has forgotten what it holds. */
const HOLD_TIMEOUT_MS = 120_000;

interface Fault {
  step: string;
  action: Action;
}

/** @param setting of `MSB_FAULT`. @throws `invalid_argument` if it names no step or no action that there is */
export function faultInjection(setting: string | undefined, home: string): Reached | undefined {
  if (setting === undefined || setting === "") return undefined;
  if (!setting.startsWith("/")) {
    const fault = parseFault(setting);
    return (step) => (step === fault.step ? act(fault, home) : undefined);
  }
  return (step) => {
    if (!existsSync(setting)) return;
    const fault = parseFault(readFileSync(setting, "utf8").trim());
    if (step !== fault.step) return;
    rmSync(setting);
    return act(fault, home);
  };
}

function parseFault(text: string): Fault {
  const [step = "", action] = text.split("=");
  const known = FAULT_ACTIONS.find((each) => each === action);
  if (known !== undefined && FAULT_STEPS.includes(step)) return { step, action: known };
  throw new SandboxError("invalid_argument", `MSB_FAULT: '${text}' is no step and action`, {
    hint: `STEP=ACTION with an action of ${FAULT_ACTIONS.join(", ")}; or unset it: it is for tests`,
    details: { steps: FAULT_STEPS },
  });
}

async function act({ step, action }: Fault, home: string): Promise<void> {
  if (action === "kill") process.kill(process.pid, "SIGKILL");
  if (action === "fail") throw new SandboxError("internal", `the fault at ${step} that was asked for`);
  if (action === "enospc") {
    throw Object.assign(new Error(`ENOSPC: no space left on device, at ${step}`), { code: "ENOSPC" });
  }
  const held = join(home, HELD_FILE);
  writeFileSync(held, step);
  const deadline = Date.now() + HOLD_TIMEOUT_MS;
  while (existsSync(held)) {
    if (Date.now() > deadline) throw new SandboxError("timeout", `nobody let go of ${step}`);
    await sleep(5);
  }
}
