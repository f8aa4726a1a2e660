import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { type AgentConnection, connectAgent, type GuestRestore } from "../src/engine/guest/index.ts";
import type { SandboxDriver } from "./sandbox-driver.ts";

/**
 * The agent of a sandbox whose daemon is gone: what the host says to it by the protocol alone. The daemon that starts next
 * finds the VM as its own daemon had left it.
 */
export class AgentHost implements Disposable {
  readonly agent: AgentConnection;
  // Beyond those that the daemon gave.
  #channel = 1_000_000;

  private constructor(agent: AgentConnection) {
    this.agent = agent;
  }

  /** Ends the daemon and takes over from it; the driver has one running sandbox. */
  static async takeOver(driver: SandboxDriver): Promise<AgentHost> {
    await driver.killDaemon();
    const runs = await driver.files("run");
    const sockets = (await Promise.all(runs.map((run) => driver.files(join("run", run))))).flatMap(
      (names, i) => (names.includes("agent") ? [join(driver.home, "run", runs[i]!, "agent")] : []),
    );
    if (sockets.length !== 1) throw new Error(`${sockets.length} machines run`);
    return new AgentHost(await connectAgent(sockets[0]!, { filler: true }));
  }

  /** What a shell's script wrote to stdout, to its end. @throws if it failed */
  async shell(script: string): Promise<string> {
    const process = await this.begin(script);
    let stdout = "";
    process.onOutput((stream, offset, data) => {
      if (stream === "stdout") stdout += data;
      process.ack(stream, offset + data.length);
    });
    const exit = await process.exited;
    process.release();
    if (!("code" in exit) || exit.code !== 0)
      throw new Error(`${script}: ${JSON.stringify(exit)}, ${stdout}`);
    return stdout;
  }

  /** Starts a shell's script and leaves it running. */
  begin(script: string) {
    const env = { PATH: "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" };
    return this.agent.start(++this.#channel, { argv: ["sh", "-c", script], env });
  }

  [Symbol.dispose](): void {
    this.agent.close();
  }
}

/** Who a VM is next, in all that no other may be. */
export function another(hostname: string, generation: number): GuestRestore {
  const timeNs = BigInt(Date.now()) * 1_000_000n;
  const machineId = randomBytes(16).toString("hex");
  return { identity: { entropy: randomBytes(64), timeNs, hostname, machineId }, generation };
}
