import type { Setup } from "../commands.ts";
import { AgentConnection } from "../connection.ts";
import type { OpenOptions } from "../options.ts";
import { ModelPort } from "./port.ts";

export const setup: Setup = {
  identity: {
    entropy: Buffer.alloc(64, 3),
    timeNs: 1_767_225_600_000_000_000n,
    hostname: "box",
    machineId: "0123456789abcdef0123456789abcdef",
  },
  upper: "fresh",
  upperSizeBytes: 2 ** 33,
};

/** A connection to a model guest, as tests begin with one. */
export class Session {
  port = new ModelPort();
  connection!: AgentConnection;

  /** A new guest that nobody is connected to. */
  reset(): void {
    this.close();
    this.port = new ModelPort();
  }

  close(): void {
    this.connection?.close();
  }

  async open(options: Partial<OpenOptions> = {}): Promise<AgentConnection> {
    this.connection = await AgentConnection.open(this.port.connect(), {
      filler: false,
      timeoutMs: 2_000,
      ...options,
    });
    return this.connection;
  }

  async start(stdin = false) {
    const process = await this.connection.start(1, { argv: ["cat"], stdin });
    return { process, inGuest: this.port.guest.processes.get(1)! };
  }
}
