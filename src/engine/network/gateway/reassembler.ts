/**
 * Makes packets whole that came in pieces (RFC 791, RFC 8200 section 4.5). Of a packet with pieces that overlap nothing is taken, now or
 * later (RFC 5722; for IPv4 too, as nobody sends such but to deceive). Pieces that never become whole are forgotten without a
 * word to the guest, who lost them itself.
 *
 * Bounds: packets, bytes and time; pieces of one packet. At a bound the oldest packet goes. Pieces are copied, so that nothing of a
 * read buffer is kept, and each is counted with what keeping it costs.
 */
import { IPV4_HEADER, IPV6_HEADER, type IpPacket } from "../packet/ip-packet.ts";
import { parseIpv4, writeIpv4Header } from "../packet/ipv4.ts";
import { parseIpv6, writeIpv6Header } from "../packet/ipv6.ts";
import type { Clock } from "../tcp/clock.ts";
import type { DropCounts } from "./drop-counts.ts";

export interface ReassemblyLimits {
  packets: number;
  bytes: number;
  /** From a packet's first piece that came to its last, milliseconds. */
  timeMs: number;
}

export const REASSEMBLY_LIMITS: ReassemblyLimits = { packets: 64, bytes: 1024 * 1024, timeMs: 30_000 };

const MAX_PIECES = 128;
/** Of the length field: in IPv4 it counts the header. */
const LARGEST = 65_535;
const COST_OF_PIECE = 128;

interface Piece {
  start: number;
  bytes: Uint8Array;
}

interface Assembly {
  since: number;
  /** In order, without overlaps. Undefined: nothing of this packet is taken. */
  pieces: Piece[] | undefined;
  /** Of the whole payload, once the last piece is here. */
  length: number | undefined;
  received: number;
  cost: number;
  /** Named by the first piece. */
  protocol: number;
}

export class Reassembler {
  readonly #limits: ReassemblyLimits;
  readonly #clock: Clock;
  readonly #drops: DropCounts;
  /** Oldest first. */
  readonly #assemblies = new Map<string, Assembly>();
  #cost = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(limits: ReassemblyLimits, clock: Clock, drops: DropCounts) {
    this.#limits = limits;
    this.#clock = clock;
    this.#drops = drops;
  }

  /** What pieces take, bytes. */
  get held(): number {
    return this.#cost;
  }

  /** A packet that is a piece; the whole packet if this was what it lacked. */
  add(packet: IpPacket): IpPacket | undefined {
    this.#forgetOld();
    const key = keyOf(packet);
    const assembly = this.#assemblies.get(key) ?? this.#begin(key);
    if (assembly.pieces === undefined || !this.#insert(assembly, packet)) {
      this.#drops.add("fragment");
      this.#spoil(assembly);
      return undefined;
    }
    if (assembly.length !== assembly.received) {
      this.#makeRoom(assembly);
      return undefined;
    }
    this.#forget(key);
    return wholeOf(packet, assembly);
  }

  close(): void {
    this.#cancelTimer?.();
    this.#assemblies.clear();
    this.#cost = 0;
  }

  #begin(key: string): Assembly {
    const since = this.#clock.now();
    const assembly = { since, pieces: [], length: undefined, received: 0, cost: 0, protocol: 0 };
    this.#assemblies.set(key, assembly);
    if (this.#assemblies.size > this.#limits.packets) this.#forgetOldest();
    this.#cancelTimer ??= this.#clock.after(this.#limits.timeMs, () => this.#tick());
    return assembly;
  }

  /** False if the piece contradicts what is known. */
  #insert(assembly: Assembly, { source, fragment, payload, protocol, header }: IpPacket): boolean {
    const { offset, more } = fragment!;
    const end = offset + payload.length;
    const pieces = assembly.pieces!;
    const counted = source.version === 4 ? header.length : 0;
    if (payload.length === 0 || counted + end > LARGEST) return false;
    if (more && payload.length % 8 !== 0) return false;
    if (!more && assembly.length !== undefined && assembly.length !== end) return false;
    if (assembly.length !== undefined && end > assembly.length) return false;
    const last = pieces.at(-1);
    if (!more && last !== undefined && last.start + last.bytes.length > end) return false;
    // Mostly they come in order: look from the end.
    let at = pieces.length;
    while (at > 0 && pieces[at - 1]!.start >= offset) at--;
    const before = pieces[at - 1];
    const after = pieces[at];
    if (before !== undefined && before.start + before.bytes.length > offset) return false;
    if (after !== undefined && after.start < end) return isSame(after, offset, payload);
    if (pieces.length === MAX_PIECES) return false;
    pieces.splice(at, 0, { start: offset, bytes: payload.slice() });
    if (!more) assembly.length = end;
    if (offset === 0) assembly.protocol = protocol;
    assembly.received += payload.length;
    assembly.cost += payload.length + COST_OF_PIECE;
    this.#cost += payload.length + COST_OF_PIECE;
    return true;
  }

  #makeRoom(but: Assembly): void {
    while (this.#cost > this.#limits.bytes) {
      const [key, oldest] = this.#assemblies.entries().next().value!;
      this.#drops.add("fragment", oldest.pieces?.length ?? 0);
      this.#forget(key);
      if (oldest === but) return;
    }
  }

  /** Stays known until its time is over, so that its other pieces make no new packet. */
  #spoil(assembly: Assembly): void {
    this.#drops.add("fragment", assembly.pieces?.length ?? 0);
    assembly.pieces = undefined;
    this.#cost -= assembly.cost;
    assembly.cost = 0;
  }

  #forgetOld(): void {
    const before = this.#clock.now() - this.#limits.timeMs;
    for (const { since } of this.#assemblies.values()) {
      if (since > before) return;
      this.#forgetOldest();
    }
  }

  #forgetOldest(): void {
    const [key, oldest] = this.#assemblies.entries().next().value!;
    this.#drops.add("fragment", oldest.pieces?.length ?? 0);
    this.#forget(key);
  }

  #forget(key: string): void {
    this.#cost -= this.#assemblies.get(key)!.cost;
    this.#assemblies.delete(key);
  }

  /** Frees memory although no further piece comes. */
  #tick(): void {
    this.#cancelTimer = undefined;
    this.#forgetOld();
    if (this.#assemblies.size > 0)
      this.#cancelTimer = this.#clock.after(this.#limits.timeMs, () => this.#tick());
  }
}

/** The source is the guest, always. */
function keyOf({ destination, protocol, fragment, source }: IpPacket): string {
  const identification = fragment!.identification;
  // Of IPv6 only the first piece names the protocol for sure.
  const kind = destination.version === 4 ? protocol : "six";
  return `${kind} ${identification} ${destination.bytes.join(".")} ${source.bytes.join(".")}`;
}

/** One that came twice is no overlap (RFC 8200, 4.5). */
function isSame(piece: Piece, offset: number, payload: Uint8Array): boolean {
  return (
    piece.start === offset &&
    piece.bytes.length === payload.length &&
    piece.bytes.every((byte, i) => byte === payload[i])
  );
}

/** Read anew, as if it had come so: extension headers may lie in the pieces. Pieces in pieces are malformed. */
function wholeOf(last: IpPacket, { pieces, length, protocol }: Assembly): IpPacket | undefined {
  const { source, destination, hopLimit } = last;
  const headerLength = source.version === 4 ? IPV4_HEADER : IPV6_HEADER;
  const bytes = new Uint8Array(headerLength + length!);
  const fields = { source, destination, protocol, hopLimit, payloadLength: length! };
  if (source.version === 4) writeIpv4Header(bytes, 0, fields);
  else writeIpv6Header(bytes, 0, fields);
  for (const { start, bytes: part } of pieces!) bytes.set(part, headerLength + start);
  const whole = source.version === 4 ? parseIpv4(bytes) : parseIpv6(bytes);
  return whole?.fragment === undefined ? whole : undefined;
}
