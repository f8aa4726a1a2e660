import { type ProcessInfo, SandboxError } from "../../contract/index.ts";
import type { EngineProcess, SandboxProcesses } from "../../engine/index.ts";

/** Processes of this machine that somebody may come back to, but not attach to. */
export class LocalProcesses implements SandboxProcesses {
  readonly #start: (spec: Parameters<SandboxProcesses["start"]>[0]) => Promise<EngineProcess>;
  readonly #all = new Map<number, { info: ProcessInfo; process: EngineProcess }>();

  /** @param start starts one, as `exec` does */
  constructor(start: (spec: Parameters<SandboxProcesses["start"]>[0]) => Promise<EngineProcess>) {
    this.#start = start;
  }

  async start(spec: Parameters<SandboxProcesses["start"]>[0]): Promise<ProcessInfo> {
    const process = await this.#start(spec);
    process.onOutput(() => {});
    process.endStdin();
    const info: ProcessInfo = {
      process: process.process,
      pid: process.pid,
      argv: spec.argv,
      tty: false,
      main: false,
      state: "running",
      startedAt: new Date().toISOString(),
    };
    this.#all.set(info.process, { info, process });
    void process.exited.then((exit) =>
      Object.assign(info, { state: "ended", exit, endedAt: new Date().toISOString() }),
    );
    return { ...info };
  }

  list(): ProcessInfo[] {
    return [...this.#all.values()].map(({ info }) => info);
  }

  get(process: number): ProcessInfo {
    return this.#find(process).info;
  }

  async wait(number: number, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<ProcessInfo> {
    const { info, process } = this.#find(number);
    const cancelled = new Promise<never>((_, reject) =>
      signal?.addEventListener(
        "abort",
        () => reject(new SandboxError("cancelled", "nobody waits any more")),
        {
          once: true,
        },
      ),
    );
    await Promise.race([process.exited, cancelled]);
    return info;
  }

  signal(process: number, signal: string): void {
    this.#find(process).process.signal(signal);
  }

  attach(): never {
    throw new SandboxError("unsupported", "a sandbox without a VM keeps no output to attach to");
  }

  #find(number: number): { info: ProcessInfo; process: EngineProcess } {
    const found = this.#all.get(number);
    if (found === undefined) throw new SandboxError("not_found", `there is no process ${number}`);
    return found;
  }
}
