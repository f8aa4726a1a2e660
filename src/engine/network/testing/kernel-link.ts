import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Gateway, type GatewayHandlers } from "../gateway/gateway.ts";
import { type GuestLink, LONE_LINK } from "../guest-link.ts";
import { FrameLink } from "../link/frame-link.ts";
import { ETHERNET_HEADER } from "../packet/ethernet.ts";

const BRIDGE = join(import.meta.dirname, "tap-bridge.py");
const SCRIPT_MS = 60_000;

/**
 * Linux as the guest of a gateway: a network namespace of its own, whose only way out is a TAP interface, which is to the gateway what
 * a VM's network interface is. Needs what `kernelGuestPossible` asks for.
 */
export class KernelLink implements AsyncDisposable {
  gateway!: Gateway;
  link!: FrameLink;
  #folder = "";
  #server: Server | undefined;
  #bridge: ChildProcess | undefined;

  private constructor() {}

  static async start(handlers: GatewayHandlers, options: { mtu?: number } = {}): Promise<KernelLink> {
    const kernel = new KernelLink();
    kernel.#folder = await mkdtemp(join(tmpdir(), "msb-tap-"));
    try {
      await kernel.#start(handlers, { ...LONE_LINK, mtu: options.mtu ?? LONE_LINK.mtu });
    } catch (error) {
      await kernel[Symbol.asyncDispose]();
      throw error;
    }
    return kernel;
  }

  /** What a Python script prints that runs in the guest's network. */
  async python(script: string): Promise<string> {
    return await this.run("python3", "-c", script);
  }

  async run(...argv: string[]): Promise<string> {
    const inside = ["--net", `--target=${this.#bridge!.pid}`, ...argv];
    const { stdout } = await promisify(execFile)("nsenter", inside, { timeout: SCRIPT_MS });
    return stdout.trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.gateway?.[Symbol.dispose]();
    this.link?.[Symbol.dispose]();
    this.#server?.close();
    const bridge = this.#bridge;
    if (bridge !== undefined && bridge.exitCode === null && bridge.signalCode === null) {
      bridge.kill("SIGKILL");
      await once(bridge, "exit");
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #start(handlers: GatewayHandlers, guestLink: GuestLink): Promise<void> {
    const { mtu, guest, gateway } = guestLink;
    const path = join(this.#folder, "link");
    const server = createServer().listen(path);
    this.#server = server;
    await once(server, "listening");
    server.once("connection", (socket) => this.#attach(socket, handlers, guestLink));
    const addresses = guest.addresses.flatMap(({ address, prefix }) => [
      `${address}/${prefix}`,
      gateway.addresses.find((own) => own.address.version === address.version)!.address.text,
    ]);
    const argv = ["--net", "python3", BRIDGE, path, String(mtu), guest.mac, ...addresses];
    this.#bridge = spawn("unshare", argv, { stdio: ["ignore", "pipe", "inherit"] });
    await Promise.race([once(this.#bridge.stdout!, "data"), once(this.#bridge, "exit")]);
    if (this.#bridge.exitCode !== null) throw new Error("the bridge of the TAP interface did not come up");
  }

  #attach(socket: Socket, handlers: GatewayHandlers, guestLink: GuestLink): void {
    this.link = new FrameLink(socket, guestLink.mtu + ETHERNET_HEADER, {
      onFrame: (frame) => this.gateway.receive(frame),
      onDrain: () => this.gateway.resume(),
      onClose: () => {},
    });
    this.gateway = new Gateway({ link: guestLink }, handlers, this.link);
  }
}
