import type { Progress, SandboxInfo, StreamClientMessage } from "../contract/index.ts";
import type { Connection } from "./connection.ts";
import { ExecProcess, type OtherMessage } from "./exec-process.ts";

export interface RunProcessOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  /** What is done in the sandbox before its command, which was asked to be held. */
  prepare?: ((sandbox: SandboxInfo) => Promise<void>) | undefined;
}

/** The one command of a sandbox that exists for it. */
export class RunProcess extends ExecProcess {
  /** The sandbox, once it runs; rejects when it cannot be created. */
  readonly sandbox: Promise<SandboxInfo>;
  readonly #sandbox = Promise.withResolvers<SandboxInfo>();
  readonly #options: RunProcessOptions;

  constructor(connection: Connection, first: StreamClientMessage, options: RunProcessOptions) {
    super(connection, "/v1/run", first, "run a command in a new sandbox", options.signal);
    this.sandbox = this.#sandbox.promise;
    this.sandbox.catch(() => {});
    this.#options = options;
  }

  protected override onOther(message: OtherMessage): void {
    if (message.type === "sandbox") this.#there(message.sandbox);
    else if (message.type === "progress") this.#options.onProgress?.(message.progress);
  }

  protected override onFailure(error: unknown): void {
    this.#sandbox.reject(error);
  }

  #there(sandbox: SandboxInfo): void {
    this.#sandbox.resolve(sandbox);
    const { prepare } = this.#options;
    if (prepare === undefined) return;
    prepare(sandbox).then(
      () => this.say({ type: "begin" }),
      // The daemon takes the sandbox away with the connection.
      (error) => this.fail(error),
    );
  }
}
