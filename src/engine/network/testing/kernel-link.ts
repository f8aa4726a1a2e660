import type { Socket } from "node:net";
import { join } from "node:path";
import { Gateway, type GatewayHandlers } from "../gateway/gateway.ts";
import { type GuestLink, LONE_LINK } from "../guest-link.ts";
import { FrameLink } from "../link/frame-link.ts";
import { ETHERNET_HEADER } from "../packet/ethernet.ts";
import { BridgedNamespace } from "./namespace.ts";

const BRIDGE = join(import.meta.dirname, "tap-bridge.py");

/**
 * Linux as the guest of a gateway: a network namespace of its own, whose only way out is a TAP interface, which is to the gateway what
 * a VM's network interface is. Needs what `kernelGuestPossible` asks for.
 */
export class KernelLink implements AsyncDisposable {
  gateway!: Gateway;
  link!: FrameLink;
  #namespace!: BridgedNamespace;

  private constructor() {}

  static async start(handlers: GatewayHandlers, options: { mtu?: number } = {}): Promise<KernelLink> {
    const kernel = new KernelLink();
    const guestLink = { ...LONE_LINK, mtu: options.mtu ?? LONE_LINK.mtu };
    const { mtu, guest, gateway } = guestLink;
    const addresses = guest.addresses.flatMap(({ address, prefix }) => [
      `${address}/${prefix}`,
      gateway.addresses.find((own) => own.address.version === address.version)!.address.text,
    ]);
    kernel.#namespace = await BridgedNamespace.open(
      BRIDGE,
      [String(mtu), guest.mac, ...addresses],
      (socket) => kernel.#attach(socket, handlers, guestLink),
    );
    return kernel;
  }

  /** What a Python script prints that runs in the guest's network. */
  async python(script: string): Promise<string> {
    return await this.#namespace.python(script);
  }

  async run(...argv: string[]): Promise<string> {
    return await this.#namespace.run(...argv);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.gateway?.[Symbol.dispose]();
    this.link?.[Symbol.dispose]();
    await this.#namespace[Symbol.asyncDispose]();
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
