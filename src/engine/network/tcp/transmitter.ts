import { ACK, FIN, PSH, RST, SYN, type TcpOptions } from "../packet/tcp.ts";
import { OUR_WINDOW_SCALE, type Receiver } from "./receiver.ts";
import type { Outgoing, Sender } from "./sender.ts";
import { plus } from "./sequence.ts";
import type { Parties, Wire } from "./wire.ts";

const NOTHING = new Uint8Array(0);

/** The segments of one connection, by what they are for. All but the first SYN acknowledge everything that has come. */
export class Transmitter {
  readonly #wire: Wire;
  readonly #parties: Parties;
  readonly #initial: number;
  readonly #sender: Sender;
  readonly #acknowledged: () => void;
  #receiver: Receiver | undefined;
  #scaled = true;

  /** `acknowledged` is called when a segment has acknowledged everything. */
  constructor(wire: Wire, parties: Parties, initial: number, sender: Sender, acknowledged: () => void) {
    this.#wire = wire;
    this.#parties = parties;
    this.#initial = initial;
    this.#sender = sender;
    this.#acknowledged = acknowledged;
  }

  /** The guest's SYN has come; `scaled`: it scales windows. */
  meet(receiver: Receiver, scaled: boolean): void {
    this.#receiver = receiver;
    this.#scaled = scaled;
  }

  syn(): void {
    const options: TcpOptions = { maximumSegmentSize: this.#wire.segmentSize(this.#parties.guest) };
    if (this.#scaled) options.windowScale = OUR_WINDOW_SCALE;
    this.#send(this.#initial, SYN, NOTHING, options);
  }

  data(outgoing: Outgoing): void {
    const flags = (outgoing.fin ? FIN : 0) | (outgoing.last ? PSH : 0);
    this.#send(outgoing.sequence, flags, outgoing.payload);
  }

  /** Its number is behind all that was ever sent, also while that is sent again: the guest may have it already. */
  acknowledgment(): void {
    this.#send(this.#sender.unsent, 0, NOTHING);
  }

  /** Behind what was acknowledged, so that the guest must answer: keep-alive and window probe (RFC 9293 section 3.8.4). */
  probe(): void {
    this.#send(plus(this.#sender.unacknowledged, -1), 0, NOTHING);
  }

  reset(): void {
    this.#send(this.#sender.unsent, RST, NOTHING);
  }

  /** To a segment that acknowledges what was never sent. */
  resetFor(acknowledgment: number): void {
    const reply = { sequence: acknowledgment, acknowledgment: 0, flags: RST, window: 0 };
    this.#wire.send(this.#parties, reply, NOTHING);
  }

  #send(sequence: number, flags: number, payload: Uint8Array, options?: TcpOptions): void {
    const receiver = this.#receiver;
    const reply =
      receiver === undefined
        ? { sequence, acknowledgment: 0, flags, window: 0xffff }
        : { sequence, flags: flags | ACK, window: receiver.tell(), acknowledgment: receiver.next };
    this.#wire.send(this.#parties, reply, payload, options);
    if (receiver !== undefined) this.#acknowledged();
  }
}
