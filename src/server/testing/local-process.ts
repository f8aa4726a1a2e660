import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import { type ExecSpec, type ExitStatus, SandboxError } from "../../contract/index.ts";
import type { EngineProcess } from "../../engine/index.ts";

/** A process of this machine where the engine would have one of a sandbox: enough to test what carries it. */
export class LocalProcess implements EngineProcess {
  readonly process: number;
  readonly pid: number;
  readonly exited: Promise<ExitStatus>;
  readonly #child: ChildProcess;
  #deliveries: Promise<void>[] = [];

  static async start(number: number, spec: ExecSpec, env: Record<string, string>): Promise<LocalProcess> {
    const [file, ...args] = spec.argv;
    const child = spawn(file!, args, {
      cwd: spec.workdir ?? "/",
      env: { PATH: process.env.PATH ?? "", ...env, ...spec.env },
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
    });
    try {
      await once(child, "spawn");
    } catch (cause) {
      const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
      throw new SandboxError(
        missing ? "not_found" : "permission_denied",
        missing ? `${file}: command not found` : `${file}: not executable`,
        { details: { exitCode: missing ? 127 : 126 }, cause },
      );
    }
    return new LocalProcess(number, child, spec.timeoutMs);
  }

  private constructor(number: number, child: ChildProcess, timeoutMs: number | undefined) {
    this.process = number;
    this.pid = child.pid!;
    this.#child = child;
    child.stdin!.on("error", () => {});
    let timedOut = false;
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true;
            this.signal("TERM");
          }, timeoutMs);
    this.exited = once(child, "close").then(async ([code, signal]) => {
      clearTimeout(timer);
      await Promise.all(this.#deliveries);
      const name = signal as NodeJS.Signals | null;
      return {
        exitCode: name === null ? (code as number) : 128 + constants.signals[name],
        ...(name === null ? {} : { signal: name }),
        ...(timedOut ? { timedOut } : {}),
      };
    });
  }

  onOutput(listener: (stream: "stdout" | "stderr", chunk: Buffer) => void | Promise<void>): void {
    for (const stream of ["stdout", "stderr"] as const) {
      const source = this.#child[stream]!;
      source.on("data", (chunk: Buffer) => {
        const slow = listener(stream, chunk);
        if (slow === undefined) return;
        source.pause();
        const delivery = slow.then(() => {
          source.resume();
          this.#deliveries = this.#deliveries.filter((other) => other !== delivery);
        });
        this.#deliveries.push(delivery);
      });
    }
  }

  write(chunk: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#child.stdin!.write(chunk, (error) => (error ? reject(error) : resolve()));
    });
  }

  endStdin(): void {
    this.#child.stdin!.end();
  }

  signal(signal: string): void {
    const name = (signal.startsWith("SIG") ? signal : `SIG${signal}`) as NodeJS.Signals;
    if (!(name in constants.signals)) {
      throw new SandboxError("invalid_argument", `there is no signal ${signal}`);
    }
    try {
      process.kill(-this.pid, name);
    } catch {
      // it has ended
    }
  }

  resize(): void {}

  detach(): void {
    this.#child.stdout!.resume();
    this.#child.stderr!.resume();
  }
}
