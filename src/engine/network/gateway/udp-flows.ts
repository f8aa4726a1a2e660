/**
 * Which datagrams belong together. A flow begins with the first datagram and ends after a silence: `unrepliedMs` while nothing has
 * come back, `repliedMs` afterwards (RFC 4787, 4.3 wants two minutes at least for NATs). Bounds: flows at a time, at which
 * the one that was silent for longest goes; bytes that wait in all of them.
 */
import { IpAddress } from "../../../contract/ip-address.ts";
import type { FlowAddress } from "../flow.ts";
import { type IpPacket, PROTOCOL } from "../packet/ip-packet.ts";
import { buildUdpHeader, MAX_DATAGRAM, type UdpDatagram } from "../packet/udp.ts";
import type { Clock } from "../tcp/clock.ts";
import type { DropCounts } from "./drop-counts.ts";
import { type IcmpErrors, quote } from "./icmp-errors.ts";
import type { PacketSender } from "./packet-sender.ts";
import { UdpFlow, type UdpFlowKeeper } from "./udp-flow.ts";

export interface UdpLimits {
  flows: number;
  /** Of the guest, waiting to be read. */
  queueBytes: number;
  unrepliedMs: number;
  repliedMs: number;
}

export const UDP_LIMITS: UdpLimits = {
  flows: 512,
  queueBytes: 4 * 1024 * 1024,
  unrepliedMs: 30_000,
  repliedMs: 180_000,
};

const SWEEP_MS = 5_000;

export class UdpFlows {
  readonly #limits: UdpLimits;
  readonly #clock: Clock;
  readonly #drops: DropCounts;
  readonly #keeper: UdpFlowKeeper;
  readonly #begin: (flow: UdpFlow) => void;
  /** Least recently used first. */
  readonly #flows = new Map<string, UdpFlow>();
  #queued = 0;
  #cancelSweep: (() => void) | undefined;

  constructor(options: {
    limits: UdpLimits;
    clock: Clock;
    sender: PacketSender;
    errors: IcmpErrors;
    drops: DropCounts;
    /** Hears of a flow that the guest began, its first datagram already waiting. */
    begin(flow: UdpFlow): void;
  }) {
    this.#limits = options.limits;
    this.#clock = options.clock;
    this.#drops = options.drops;
    this.#begin = options.begin;
    this.#keeper = this.#makeKeeper(options.sender, options.errors);
  }

  get size(): number {
    return this.#flows.size;
  }

  /** Bytes that wait to be read. */
  get queuedBytes(): number {
    return this.#queued;
  }

  receive(packet: IpPacket, { sourcePort, destinationPort, payload }: UdpDatagram): void {
    const key = keyOf(packet.source, sourcePort, packet.destination, destinationPort);
    let flow = this.#flows.get(key);
    const isNew = flow === undefined;
    if (flow === undefined) {
      // Copies: these are parts of a read buffer, which would be kept as long as the flow lives.
      const guest = new IpAddress(packet.source.bytes.slice());
      const remote = new IpAddress(packet.destination.bytes.slice());
      const parties = { guest, guestPort: sourcePort, remote, remotePort: destinationPort };
      const quoted = quote(packet);
      flow = new UdpFlow(
        parties,
        "guest",
        this.#keeper,
        quoted && { ...quoted, source: guest, destination: remote },
      );
      this.#add(key, flow);
    } else {
      this.#touch(key, flow);
    }
    if (!flow.push(payload)) this.#drops.add("queue");
    if (isNew) this.#begin(flow);
  }

  /** A flow towards the guest, which `flow.destination` is. Undefined if there is one with these addresses and ports. */
  open(flow: FlowAddress): UdpFlow | undefined {
    const key = keyOf(flow.destination, flow.destinationPort, flow.source, flow.sourcePort);
    if (this.#flows.has(key)) return undefined;
    const parties = {
      guest: flow.destination,
      guestPort: flow.destinationPort,
      remote: flow.source,
      remotePort: flow.sourcePort,
    };
    const opened = new UdpFlow(parties, "remote", this.#keeper);
    this.#add(key, opened);
    return opened;
  }

  /** The guest says that nobody listens at its port any more. */
  refused(guest: IpAddress, guestPort: number, remote: IpAddress, remotePort: number): void {
    this.#flows.get(keyOf(guest, guestPort, remote, remotePort))?.close("refused");
  }

  close(): void {
    this.#cancelSweep?.();
    for (const flow of [...this.#flows.values()]) flow.close();
  }

  #makeKeeper(sender: PacketSender, errors: IcmpErrors): UdpFlowKeeper {
    return {
      send: (flow, payload) => {
        if (payload.length > MAX_DATAGRAM[flow.source.version]) return false;
        this.#touch(flowKey(flow), flow);
        const { guest: to, guestPort: destinationPort, remote: from, remotePort: sourcePort } = flow.parties;
        const ports = { sourcePort, destinationPort };
        return sender.send(from, to, PROTOCOL.udp, [buildUdpHeader(from, to, ports, payload), payload]);
      },
      unreachable: (quoted, code) => errors.unreachable(quoted, code),
      reserve: (bytes) => {
        if (this.#queued + bytes > this.#limits.queueBytes) return false;
        this.#queued += bytes;
        return true;
      },
      release: (bytes) => {
        this.#queued -= bytes;
      },
      closed: (flow) => this.#flows.delete(flowKey(flow)),
    };
  }

  #add(key: string, flow: UdpFlow): void {
    if (this.#flows.size >= this.#limits.flows) this.#flows.values().next().value!.close();
    flow.usedAt = this.#clock.now();
    this.#flows.set(key, flow);
    this.#cancelSweep ??= this.#clock.after(SWEEP_MS, () => this.#sweep());
  }

  #touch(key: string, flow: UdpFlow): void {
    flow.usedAt = this.#clock.now();
    this.#flows.delete(key);
    this.#flows.set(key, flow);
  }

  #sweep(): void {
    this.#cancelSweep = undefined;
    const now = this.#clock.now();
    for (const flow of [...this.#flows.values()]) {
      const { repliedMs, unrepliedMs } = this.#limits;
      if (now - flow.usedAt >= (flow.replied ? repliedMs : unrepliedMs)) flow.close();
    }
    if (this.#flows.size > 0) this.#cancelSweep = this.#clock.after(SWEEP_MS, () => this.#sweep());
  }
}

/** Made as this for every datagram: ports and addresses, two bytes a character. */
function keyOf(guest: IpAddress, guestPort: number, remote: IpAddress, remotePort: number): string {
  return String.fromCharCode(guestPort, remotePort) + charsOf(guest) + charsOf(remote);
}

function charsOf({ bytes }: IpAddress): string {
  let chars = "";
  for (let i = 0; i < bytes.length; i += 2) chars += String.fromCharCode((bytes[i]! << 8) | bytes[i + 1]!);
  return chars;
}

function flowKey({ parties: { guest, guestPort, remote, remotePort } }: UdpFlow): string {
  return keyOf(guest, guestPort, remote, remotePort);
}
