import type { ExecSpec } from "../../contract/index.ts";
import type { EngineProcess, ExecContext } from "../engine.ts";
import type { AgentConnection } from "../guest/index.ts";
import type { ImageConfig } from "../image/index.ts";
import { adoptProcesses } from "./adopt-processes.ts";
import { combineCommand, processSpec } from "./command.ts";
import type { KeptRecord } from "./kept-record.ts";
import type { SandboxLog } from "./log.ts";
import { assertHeld, MainProcess } from "./main-process.ts";
import { SandboxProcess } from "./process.ts";
import { ProcessNumbers } from "./process-numbers.ts";
import { Processes } from "./processes.ts";

export interface CommandsHost {
  kept: KeptRecord;
  image: ImageConfig;
  log: SandboxLog;
  directory: string;
  busy(): () => void;
  /** Resolves when the sandbox can run a command. @throws `invalid_state` if it cannot */
  ready(): Promise<AgentConnection>;
  /** Its main process has ended. */
  ended(reason: string): Promise<void>;
}

/** What runs in a sandbox: its own command, which is its main process, and those that clients run. */
export class Commands {
  readonly processes: Processes;
  readonly numbers: ProcessNumbers;
  readonly main: MainProcess;
  readonly #host: CommandsHost;

  constructor(host: CommandsHost) {
    const { kept, log, directory } = host;
    this.#host = host;
    this.numbers = new ProcessNumbers(kept.now.reservedProcesses, (reservedProcesses) =>
      kept.save({ reservedProcesses }),
    );
    this.processes = new Processes({
      name: kept.now.name,
      directory,
      log,
      launch: (spec, context) => this.#launch(spec, { ...context, background: true }),
      busy: () => host.busy(),
    });
    this.main = new MainProcess(async (exitCode) => {
      if (kept.now.state !== "running") return;
      kept.save({ exitCode });
      await host.ended(`its command ended with exit code ${exitCode}`);
    });
  }

  /** Starts the sandbox's own command. @throws `invalid_state` if it has none, or it has begun */
  async begin(): Promise<void> {
    assertHeld(this.#host.kept.now);
    const main = await this.exec({ argv: this.argvOf(), env: {} }, { main: true });
    main.detach();
  }

  exec(spec: ExecSpec, context: ExecContext = {}): Promise<EngineProcess> {
    return this.#launch(spec, { ...context, stdin: true, background: false });
  }

  /** What runs when this is asked for. Default: the sandbox's own command */
  argvOf(argv?: string[]): string[] {
    const { kept, image } = this.#host;
    return combineCommand(kept.now.spec, image, argv);
  }

  /** Goes on with what an agent lists, but for the channels that have been taken over. */
  async adopt(agent: AgentConnection, others: ReadonlySet<number>, fresh: boolean): Promise<void> {
    const { kept, log } = this.#host;
    const { mainProcess } = kept.now;
    for (const process of await adoptProcesses(agent, log, this.processes, {
      others,
      fresh,
      main: mainProcess,
    })) {
      if (process.process === mainProcess) this.main.follow(process);
    }
    // It may have ended and been released just before the daemon died.
    if (mainProcess === undefined || agent.info.processes.some((p) => p.channel === mainProcess)) return;
    void this.#host.ended("its command had ended").catch(() => {});
  }

  /** The VM is gone, and they with it. */
  letGo(): void {
    this.processes.onlyTheseRun(new Set());
    this.main.letGo();
  }

  async #launch(
    spec: ExecSpec,
    { main = false, signal, stdin, background }: ExecContext & { stdin: boolean; background: boolean },
  ): Promise<SandboxProcess> {
    const { kept, image, log } = this.#host;
    const agent = await this.#host.ready();
    const number = this.numbers.take();
    if (main) kept.save({ mainProcess: number });
    const process = await this.processes.begin({ number, spec, main, background }, async (options) => {
      const asked = processSpec(kept.now.spec, image, spec, stdin);
      return new SandboxProcess(await agent.start(number, asked, { signal }), log, options);
    });
    if (main) this.main.follow(process);
    return process;
  }
}
