import { readFile } from "node:fs/promises";
import { expect } from "vitest";
import { type CreateOptions, Daemon, type Sandbox } from "../src/sdk/index.ts";
import { Internet } from "./internet.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** Whether this machine can have one: namespaces need root. */
export const possible = process.platform === "linux" && process.getuid?.() === 0;

/** Where an image has the authorities that its programs trust. */
const AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt";

/** An internet, and a daemon in it with the image of real tools. */
export class World implements AsyncDisposable {
  readonly internet: Internet;
  readonly driver: SandboxDriver;

  private constructor(internet: Internet, driver: SandboxDriver) {
    this.internet = internet;
    this.driver = driver;
  }

  /** @param name of the daemon's home */
  static async open(name: string): Promise<World> {
    await using closing = new AsyncDisposableStack();
    const internet = closing.use(await Internet.open());
    const driver = closing.use(await SandboxDriver.open(name, { image: false }));
    const { connection } = driver;
    await internet.startDaemon(driver.home, async () => (await Daemon.status({ connection })) !== undefined);
    await driver.importImage("tools");
    closing.move();
    return new World(internet, driver);
  }

  /** A sandbox with this network that trusts the internet's authority. */
  async create(network: CreateOptions["network"], options: Partial<CreateOptions> = {}): Promise<Sandbox> {
    const sandbox = await this.driver.create({
      image: "msb/tools",
      memoryMiB: 512,
      network,
      files: [{ path: "/authority.pem", text: await readFile(this.internet.authority, "utf8") }],
      ...options,
    });
    await sandbox.shell(`cat /authority.pem >> ${AUTHORITIES}`);
    return sandbox;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.driver[Symbol.asyncDispose]();
    await this.internet[Symbol.asyncDispose]();
  }
}

/** Waits for a decision of the sandbox's network. */
export async function decided(sandbox: Sandbox, wanted: Record<string, unknown>): Promise<void> {
  await expect
    .poll(() => Array.fromAsync(sandbox.network.log()))
    .toContainEqual(expect.objectContaining(wanted));
}
