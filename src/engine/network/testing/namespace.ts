import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const SCRIPT_MS = 60_000;

/** Network namespaces and TUN interfaces are for root only. */
export function kernelGuestPossible(): boolean {
  try {
    accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
}

/** A network namespace whose only way out is an interface that a bridge in it joins to a socket of ours. */
export class BridgedNamespace implements AsyncDisposable {
  readonly #folder: string;
  readonly #server: Server;
  #bridge: ChildProcess | undefined;

  private constructor(folder: string, server: Server) {
    this.#folder = folder;
    this.#server = server;
  }

  /**
   * @param bridge Python program; it is called with the path of the socket and the arguments, and writes when the interface is up
   * @param attach is given the socket, before that
   */
  static async open(
    bridge: string,
    args: string[],
    attach: (socket: Socket) => void,
  ): Promise<BridgedNamespace> {
    const folder = await mkdtemp(join(tmpdir(), "msb-net-"));
    const path = join(folder, "link");
    const namespace = new BridgedNamespace(folder, createServer(attach).listen(path));
    try {
      await once(namespace.#server, "listening");
      await namespace.#start(bridge, [path, ...args]);
      return namespace;
    } catch (error) {
      await namespace[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** What a Python script prints that runs in it. */
  async python(script: string): Promise<string> {
    return await this.run("python3", "-c", script);
  }

  async run(...argv: string[]): Promise<string> {
    const inside = ["--net", `--target=${this.#bridge!.pid}`, ...argv];
    const { stdout } = await promisify(execFile)("nsenter", inside, { timeout: SCRIPT_MS });
    return stdout.trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    const bridge = this.#bridge;
    if (bridge !== undefined && bridge.exitCode === null && bridge.signalCode === null) {
      bridge.kill("SIGKILL");
      await once(bridge, "exit");
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #start(bridge: string, args: string[]): Promise<void> {
    this.#bridge = spawn("unshare", ["--net", "python3", bridge, ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await Promise.race([once(this.#bridge.stdout!, "data"), once(this.#bridge, "exit")]);
    if (this.#bridge.exitCode !== null) throw new Error("the bridge of the interface did not come up");
  }
}
