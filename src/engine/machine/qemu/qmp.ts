import { connect, type Socket } from "node:net";
import { SandboxError } from "../../../contract/index.ts";

/**
 * A client of the QEMU Machine Protocol (QEMU's docs/interop/qmp-spec.rst): JSON objects, one a line.
 *
 * A guest may own QEMU one day, so what comes is not trusted: a line has at most 1 MiB, at most 4 MiB of console or
 * anything else is ever held, and what is not understood closes the connection.
 */

const MAX_LINE = 1024 * 1024;
const COMMAND_TIMEOUT_MS = 10_000;

export interface QmpEvent {
  event: string;
  data: Record<string, unknown>;
}

interface Pending {
  command: string;
  resolve: (value: unknown) => void;
  reject: (error: SandboxError) => void;
  timer: NodeJS.Timeout;
}

export class Qmp {
  /** Settles when the connection is over, for whatever reason. */
  readonly closed: Promise<void>;
  private readonly socket: Socket;
  private readonly pending = new Map<number, Pending>();
  private readonly listeners = new Set<(event: QmpEvent) => void>();
  private lastId = 0;
  private rest: Buffer[] = [];
  private restBytes = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        for (const pending of this.pending.values()) {
          clearTimeout(pending.timer);
          pending.reject(gone(pending.command));
        }
        this.pending.clear();
        resolve();
      });
    });
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => this.read(chunk));
  }

  /** Connects. The first command must be `qmp_capabilities`; what is sent behind it is answered in order. */
  static async connect(path: string): Promise<Qmp> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new Qmp(socket);
  }

  /**
   * Runs one command.
   * @throws `internal` with QEMU's own words, `timeout` after `timeoutMs` (default 10,000), `unavailable` if QEMU is gone
   */
  execute(command: string, args?: object, timeoutMs = COMMAND_TIMEOUT_MS): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.socket.destroyed) return reject(gone(command));
      const id = ++this.lastId;
      const timer = setTimeout(() => {
        this.pending.delete(id);
        reject(new SandboxError("timeout", `QEMU did not answer '${command}' within ${timeoutMs} ms`));
      }, timeoutMs);
      this.pending.set(id, { command, resolve, reject, timer });
      this.socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    });
  }

  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  close(): void {
    this.socket.destroy();
  }

  private read(chunk: Buffer): void {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      this.rest.push(chunk.subarray(from, at));
      const line = this.rest.length === 1 ? this.rest[0]! : Buffer.concat(this.rest);
      this.rest = [];
      this.restBytes = 0;
      from = at + 1;
      if (!this.handle(line.toString("utf8"))) return;
    }
    if (from === chunk.length) return;
    this.rest.push(chunk.subarray(from));
    this.restBytes += chunk.length - from;
    if (this.restBytes > MAX_LINE) this.socket.destroy();
  }

  private handle(line: string): boolean {
    let message: Record<string, unknown>;
    try {
      message = JSON.parse(line);
    } catch {
      this.socket.destroy();
      return false;
    }
    if (typeof message.event === "string") {
      const event = { event: message.event, data: (message.data ?? {}) as Record<string, unknown> };
      for (const listener of this.listeners) listener(event);
    } else if (typeof message.id === "number") {
      const pending = this.pending.get(message.id);
      if (pending === undefined) return true;
      this.pending.delete(message.id);
      clearTimeout(pending.timer);
      if ("error" in message) {
        const desc = String((message.error as { desc?: unknown } | null)?.desc ?? "no reason given");
        pending.reject(new SandboxError("internal", `QEMU refused '${pending.command}': ${desc}`));
      } else {
        pending.resolve(message.return);
      }
    }
    return true;
  }
}

function gone(command: string): SandboxError {
  return new SandboxError("unavailable", `QEMU went away before it answered '${command}'`);
}
