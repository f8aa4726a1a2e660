import type { IpAddress } from "../../../contract/ip-address.ts";
import type { FlowAddress } from "../flow.ts";
import type { Unreachable } from "../packet/icmp.ts";
import type { Parties } from "../tcp/wire.ts";
import type { Quote } from "./icmp-errors.ts";

/**
 * Datagrams between the guest and one remote address and port. Iterate over it for what the guest sends: once, by one. Bounds: what
 * waits to be read (`MAX_WAITING`, and a share of the sandbox's); what comes on top is dropped, as networks do.
 */

const MAX_WAITING = 64;

export interface UdpFlowKeeper {
  send(flow: UdpFlow, payload: Uint8Array): boolean;
  unreachable(quoted: Quote | undefined, code: Unreachable): void;
  /** Takes bytes of what all flows may hold; false if there are not so many. */
  reserve(bytes: number): boolean;
  release(bytes: number): void;
  closed(flow: UdpFlow): void;
}

export class UdpFlow implements FlowAddress, AsyncIterable<Uint8Array> {
  readonly source: IpAddress;
  readonly sourcePort: number;
  readonly destination: IpAddress;
  readonly destinationPort: number;
  readonly parties: Parties;
  /** Whether the other side has said anything; until then the flow is given up sooner. */
  replied = false;
  /** It ended since nobody listens in the guest. */
  refused = false;
  /** When the last datagram went in either direction, by the keeper's clock. */
  usedAt = 0;
  readonly #keeper: UdpFlowKeeper;
  readonly #begunByGuest: boolean;
  readonly #quote: Quote | undefined;
  readonly #gone = new AbortController();
  #queue: Uint8Array[] = [];
  #wake: (() => void) | undefined;

  /** `quote`: of the datagram that began it, if the guest did and if it may be told of errors. */
  constructor(parties: Parties, begunBy: "guest" | "remote", keeper: UdpFlowKeeper, quote?: Quote) {
    const { guest, guestPort, remote, remotePort } = parties;
    this.parties = parties;
    this.#begunByGuest = begunBy === "guest";
    [this.source, this.destination] = this.#begunByGuest ? [guest, remote] : [remote, guest];
    [this.sourcePort, this.destinationPort] = this.#begunByGuest
      ? [guestPort, remotePort]
      : [remotePort, guestPort];
    this.#keeper = keeper;
    this.#quote = quote;
  }

  /** Aborted when it is closed: by its user, by being idle, by the guest that no longer listens, or by newer ones. */
  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  get closed(): boolean {
    return this.#gone.signal.aborted;
  }

  /** Sends a datagram to the guest, of at most 65,507 bytes (IPv6: 65,527). False: it was dropped, since the link is full or the flow is closed. */
  reply(payload: Uint8Array): boolean {
    if (this.closed) return false;
    this.replied ||= this.#begunByGuest;
    return this.#keeper.send(this, payload);
  }

  /** Sends an ICMP error about the guest's first datagram; its socket hears of it. */
  unreachable(code: Unreachable): void {
    this.#keeper.unreachable(this.#quote, code);
  }

  /** `why`: the guest said that nobody listens there any more. */
  close(why?: "refused"): void {
    if (this.closed) return;
    this.refused = why === "refused";
    this.#gone.abort();
    for (const { length } of this.#queue) this.#keeper.release(length);
    this.#queue = [];
    this.#wake?.();
    this.#keeper.closed(this);
  }

  /** A datagram of the guest; copied, as it lies in a buffer with others. False: dropped. */
  push(payload: Uint8Array): boolean {
    this.replied ||= !this.#begunByGuest;
    if (this.closed || this.#queue.length === MAX_WAITING || !this.#keeper.reserve(payload.length))
      return false;
    this.#queue.push(payload.slice());
    this.#wake?.();
    return true;
  }

  /** Ends when the flow is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    while (!this.closed) {
      const payload = this.#queue.shift();
      if (payload === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
        continue;
      }
      this.#keeper.release(payload.length);
      yield payload;
    }
  }
}
