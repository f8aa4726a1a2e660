import type { OutputFrom, ProcessInfo } from "../contract/index.ts";
import type { Connection } from "./connection.ts";
import { type ExecEvent, ExecProcess, type OtherMessage } from "./exec-process.ts";

/**
 * A process that goes on without this program. Iterate it to get its output: what is kept of it, then what comes, and last its end.
 * Leaving the iteration, {@link close} and the end of this program do nothing to the process.
 */
export class AttachedProcess extends ExecProcess {
  /** The process as it was when this was attached. */
  readonly attached: Promise<ProcessInfo>;
  /**
   * Offsets behind what was iterated so far, from where another attach can go on. Known once `attached` has resolved.
   */
  readonly offsets = { stdout: 0, stderr: 0 };
  readonly #attached = Promise.withResolvers<ProcessInfo>();

  constructor(
    connection: Connection,
    path: string,
    from: OutputFrom | undefined,
    purpose: string,
    signal: AbortSignal | undefined,
  ) {
    super(connection, path, { type: "attach", ...(from && { from }) }, purpose, signal);
    this.attached = this.#attached.promise;
    this.attached.catch(() => {});
  }

  override [Symbol.asyncIterator](): AsyncIterator<ExecEvent> {
    const events = super[Symbol.asyncIterator]();
    return {
      next: async () => {
        const result = await events.next();
        if (!result.done && result.value.type === "output") {
          this.offsets[result.value.stream] += result.value.data.length;
        } else if (!result.done && result.value.type === "lost") {
          this.offsets[result.value.stream] += result.value.bytes;
        }
        return result;
      },
      return: () => events.return!(),
    };
  }

  protected override onOther(message: OtherMessage): void {
    if (message.type !== "attached") return;
    Object.assign(this.offsets, message.from);
    this.begun(message.process);
    this.#attached.resolve(message.process);
  }

  protected override onFailure(error: unknown): void {
    this.#attached.reject(error);
  }
}
