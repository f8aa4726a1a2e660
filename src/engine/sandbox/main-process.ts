import { SandboxError } from "../../contract/index.ts";
import type { SandboxProcess } from "./process.ts";
import type { SandboxRecord } from "./record.ts";

/**
 * The process that a sandbox lives as long as, if its spec has a command. It begins with the sandbox, or is held back until whoever made
 * the sandbox has put in place what it needs.
 */
export class MainProcess {
  readonly #ended: (exitCode: number) => Promise<void>;
  #process: SandboxProcess | undefined;

  /** @param ended ends the sandbox with it */
  constructor(ended: (exitCode: number) => Promise<void>) {
    this.#ended = ended;
  }

  /** Undefined: there is none, or it has not begun. */
  get process(): SandboxProcess | undefined {
    return this.#process;
  }

  follow(process: SandboxProcess): void {
    this.#process = process;
    process.exited
      .then(
        ({ exitCode }) => (this.#process === process ? this.#ended(exitCode) : undefined),
        () => {},
      )
      .catch(() => {});
  }

  letGo(): void {
    this.#process = undefined;
  }
}

/** @throws `invalid_state` where no command waits */
export function assertHeld({ name, spec, mainProcess }: SandboxRecord): void {
  if (spec.command === undefined) {
    throw new SandboxError("invalid_state", `sandbox '${name}' has no command to begin`, {
      hint: "Run one in it with exec.",
    });
  }
  if (mainProcess !== undefined)
    throw new SandboxError("invalid_state", `the command of sandbox '${name}' has begun already`);
}
