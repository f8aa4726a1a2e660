import type { Socket } from "node:net";
import { join } from "node:path";
import type { IpAddress } from "../../../../contract/ip-address.ts";
import { parseIpv4 } from "../../packet/ipv4.ts";
import { parseIpv6 } from "../../packet/ipv6.ts";
import { TCP_PROTOCOL } from "../../packet/tcp.ts";
import { BridgedNamespace } from "../../testing/namespace.ts";
import { ipPacket } from "../../testing/packets.ts";
import { TcpLayer, type TcpLayerOptions } from "../layer.ts";
import type { TcpRequest } from "../request.ts";

const BRIDGE = join(import.meta.dirname, "tun-bridge.py");

/** Linux as the guest: a network namespace of its own, whose only way out is a TUN interface that ends in a `TcpLayer`. */
export class KernelGuest implements AsyncDisposable {
  layer: TcpLayer;
  /** Who answers the guest's requests; a test sets it. */
  answer: (request: TcpRequest) => void = (request) => request.reset();
  #namespace!: BridgedNamespace;
  #link: Socket | undefined;
  #rest: Buffer = Buffer.alloc(0);

  readonly #options: Partial<TcpLayerOptions>;

  private constructor(options: Partial<TcpLayerOptions>) {
    this.#options = options;
    this.layer = this.#newLayer();
  }

  #newLayer(): TcpLayer {
    return new TcpLayer({
      mtu: 1500,
      ...this.#options,
      request: (request) => this.answer(request),
      send: (from, to, header, payload) => this.#send(from, to, header, payload),
    });
  }

  /** A layer that knows nothing of what was before, as after a daemon that was killed. */
  startAnew(): void {
    this.layer = this.#newLayer();
  }

  static async start(options: Partial<TcpLayerOptions> = {}): Promise<KernelGuest> {
    const guest = new KernelGuest(options);
    guest.#namespace = await BridgedNamespace.open(BRIDGE, [String(options.mtu ?? 1500)], (socket) =>
      guest.#attach(socket),
    );
    return guest;
  }

  /** Runs a Python script in the guest's network; what it prints. */
  async python(script: string): Promise<string> {
    return await this.#namespace.python(script);
  }

  async run(...argv: string[]): Promise<string> {
    return await this.#namespace.run(...argv);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.layer.close();
    this.#link?.destroy();
    await this.#namespace[Symbol.asyncDispose]();
  }

  #attach(socket: Socket): void {
    this.#link = socket;
    socket.on("error", () => {});
    socket.on("drain", () => this.layer.resume());
    socket.on("data", (bytes) => this.#receive(bytes));
  }

  #receive(bytes: Buffer): void {
    let rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
      const end = 4 + rest.readUInt32BE(0);
      this.#receivePacket(rest.subarray(4, end));
      rest = rest.subarray(end);
    }
    this.#rest = rest;
  }

  /** Without IPv4's options, extension headers or fragments, none of which Linux sends here. */
  #receivePacket(bytes: Buffer): void {
    const packet = bytes[0]! >>> 4 === 6 ? parseIpv6(bytes) : parseIpv4(bytes);
    if (packet?.protocol === TCP_PROTOCOL)
      this.layer.receive(packet.source, packet.destination, packet.payload);
  }

  #send(from: IpAddress, to: IpAddress, header: Uint8Array, payload: Uint8Array): boolean {
    const packet = ipPacket({ source: from, destination: to, protocol: TCP_PROTOCOL }, header, payload);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(packet.length);
    return this.#link?.write(Buffer.concat([length, packet])) ?? false;
  }
}
