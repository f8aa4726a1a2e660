import { forgetPeak, peakOf } from "../../bench/measured-process.ts";
import { type Connection, Daemon, type Sandbox } from "../../src/sdk/index.ts";

export interface Growth {
  /** MiB above what it had resident at the beginning. */
  daemon: number;
  client: number;
  /** Peak of the agent's own resident memory in the guest, in MiB. */
  agent: number;
}

/** The peaks of memory on both sides of a stream, as their kernels keep them. */
export class Memory {
  private readonly sandbox: Sandbox;
  private readonly daemonPid: number;
  private readonly before: { daemon: number; client: number };

  private constructor(sandbox: Sandbox, daemonPid: number, before: { daemon: number; client: number }) {
    this.sandbox = sandbox;
    this.daemonPid = daemonPid;
    this.before = before;
  }

  static async watch(sandbox: Sandbox, connection: Connection): Promise<Memory> {
    const pid = (await Daemon.status({ connection }))!.pid;
    await Promise.all([forgetPeak(pid), forgetPeak(process.pid)]);
    return new Memory(sandbox, pid, { daemon: await peakOf(pid), client: await peakOf(process.pid) });
  }

  async growth(): Promise<Growth> {
    const { stdout } = await this.sandbox.exec("cat", ["/proc/1/status"]);
    const round = (mib: number) => Math.round(mib);
    return {
      daemon: round((await peakOf(this.daemonPid)) - this.before.daemon),
      client: round((await peakOf(process.pid)) - this.before.client),
      agent: round(Number(/^VmHWM:\s+(\d+) kB/m.exec(stdout)?.[1] ?? Number.NaN) / 1024),
    };
  }

  /** The same in words. */
  async told(): Promise<string> {
    const { daemon, client, agent } = await this.growth();
    return `peaks: daemon + ${daemon} MiB, client + ${client} MiB, agent ${agent} MiB`;
  }
}
