import type { Progress, SandboxInfo, StreamClientMessage } from "../contract/index.ts";
import type { Connection } from "./connection.ts";
import { ExecProcess, type OtherMessage } from "./exec-process.ts";

/** The one command of a sandbox that exists for it. */
export class RunProcess extends ExecProcess {
  /** The sandbox, once it runs; rejects when it cannot be created. */
  readonly sandbox: Promise<SandboxInfo>;
  readonly #sandbox = Promise.withResolvers<SandboxInfo>();
  readonly #onProgress: ((progress: Progress) => void) | undefined;

  constructor(
    connection: Connection,
    first: StreamClientMessage,
    options: { signal?: AbortSignal | undefined; onProgress?: ((progress: Progress) => void) | undefined },
  ) {
    super(connection, "/v1/run", first, "run a command in a new sandbox", options.signal);
    this.sandbox = this.#sandbox.promise;
    this.sandbox.catch(() => {});
    this.#onProgress = options.onProgress;
  }

  protected override onOther(message: OtherMessage): void {
    if (message.type === "sandbox") this.#sandbox.resolve(message.sandbox);
    else if (message.type === "progress") this.#onProgress?.(message.progress);
  }

  protected override onFailure(error: unknown): void {
    this.#sandbox.reject(error);
  }
}
