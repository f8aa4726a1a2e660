import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { firstOutput, until } from "./sandbox-driver.ts";

/**
 * Two network namespaces and a link between them: in one is the daemon's host, in the other whatever there is outside of it. Needs root
 * and the host's `unshare`, `nsenter` and `ip`.
 *
 *     host  out: 10.99.0.2, fd99::2  ──  back: 10.99.0.1, fd99::1  outside
 */

export const HOST_ADDRESS = "10.99.0.2";
export const HOST_ADDRESS_6 = "fd99::2";
/** Of the other side, which is the host's way to everything else. */
export const PRIVATE_ADDRESS = "10.99.0.1";
export const PRIVATE_ADDRESS_6 = "fd99::1";

export type Side = "host" | "outside";

const PROGRAM = fileURLToPath(new URL("../src/server/main.ts", import.meta.url));
/** To run one of our TypeScript files. */
export const NODE = [process.execPath, "--disable-warning=ExperimentalWarning"];

export class TwoHosts implements AsyncDisposable {
  readonly #children: ChildProcess[] = [];
  /** Pids of the processes that hold the namespaces. */
  readonly #holders: Record<Side, number> = { host: 0, outside: 0 };

  static async open(): Promise<TwoHosts> {
    const hosts = new TwoHosts();
    try {
      await hosts.#open();
      return hosts;
    } catch (error) {
      await hosts[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs a shell script there, to its end. */
  async run(side: Side, script: string): Promise<void> {
    await promisify(execFile)("nsenter", this.#within(side, ["sh", "-ec", script]));
  }

  /** Starts a program there that ends with this. Resolves when it has written something. */
  async start(side: Side, argv: readonly string[]): Promise<ChildProcess> {
    const child = spawn("nsenter", this.#within(side, argv));
    this.#children.push(child);
    await firstOutput(child);
    return child;
  }

  /** Starts a daemon for this home on the host. */
  async startDaemon(home: string, isUp: () => Promise<boolean>): Promise<void> {
    const env = { ...process.env, MSB_HOME: home };
    const argv = this.#within("host", [...NODE, PROGRAM]);
    this.#children.push(spawn("nsenter", argv, { env, stdio: "ignore" }));
    await until(isUp, "the daemon serves");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  }

  async #open(): Promise<void> {
    this.#holders.host = await this.#namespace();
    this.#holders.outside = await this.#namespace();
    const back = `back netns ${this.#holders.outside}`;
    await this.run("host", `ip link set lo up; ip link add out type veth peer name ${back}`);
    // Without the detection of duplicates, IPv6 would not be there for a second.
    await this.run(
      "outside",
      `ip link set lo up; ip link set back up
       ip addr add ${PRIVATE_ADDRESS}/24 dev back; ip addr add ${PRIVATE_ADDRESS_6}/64 dev back nodad`,
    );
    await this.run(
      "host",
      `ip link set out up
       ip addr add ${HOST_ADDRESS}/24 dev out; ip addr add ${HOST_ADDRESS_6}/64 dev out nodad
       ip route add default via ${PRIVATE_ADDRESS}; ip route add default via ${PRIVATE_ADDRESS_6}`,
    );
  }

  /** @returns the pid of a process in it, for as long as this is open */
  async #namespace(): Promise<number> {
    const holder = spawn("unshare", ["--net", "sh", "-c", "echo ready; exec sleep 1000000"]);
    this.#children.push(holder);
    await firstOutput(holder);
    return holder.pid!;
  }

  #within(side: Side, argv: readonly string[]): string[] {
    return [`--net=/proc/${this.#holders[side]}/ns/net`, ...argv];
  }
}
