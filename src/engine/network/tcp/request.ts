/**
 * A guest's SYN that waits for an answer. The far side is dialed first, so that refused is refused and not
 * connected-and-then-reset. Meanwhile the guest's kernel repeats its SYN, which changes nothing. A dropped request stays
 * known for as long as a kernel asks, so that the same SYN is not decided upon again and again.
 */
import { IpAddress } from "../../../contract/ip-address.ts";
import type { FlowAddress } from "../flow.ts";
import type { TcpSegment } from "../packet/tcp.ts";
import type { TcpConnection } from "./connection.ts";
import { TcpError } from "./tcp-error.ts";
import type { Parties } from "./wire.ts";

/** Each of the three counts once; after the first, or after `signal`, they do nothing. */
export interface TcpRequest extends FlowAddress {
  /** Completes the handshake. If the request is over already, the connection is a destroyed one. */
  accept(): TcpConnection;
  /** Tells the guest that nothing listens there (RST). */
  reset(): void;
  /** Tells the guest nothing, now and when it repeats the SYN. */
  drop(): void;
  /** Aborted when the guest has given up, or must have. */
  readonly signal: AbortSignal;
}

export interface RequestKeeper {
  accept(request: PendingRequest): TcpConnection;
  reset(request: PendingRequest): void;
  drop(request: PendingRequest): void;
}

export class PendingRequest implements TcpRequest {
  readonly parties: Parties;
  readonly syn: TcpSegment;
  settled = false;
  dropped = false;
  /** Ends the wait for the guest to stop asking. */
  cancelTimer: (() => void) | undefined;
  readonly #keeper: RequestKeeper;
  readonly #gone = new AbortController();

  constructor(parties: Parties, syn: TcpSegment, keeper: RequestKeeper) {
    // Copies: these are parts of the buffer that the frame came in, which would be held as long as the connection lives.
    const guest = new IpAddress(parties.guest.bytes.slice());
    const remote = new IpAddress(parties.remote.bytes.slice());
    this.parties = { ...parties, guest, remote };
    this.syn = { ...syn, options: syn.options.slice(), payload: new Uint8Array(0) };
    this.#keeper = keeper;
  }

  get source() {
    return this.parties.guest;
  }

  get sourcePort() {
    return this.parties.guestPort;
  }

  get destination() {
    return this.parties.remote;
  }

  get destinationPort() {
    return this.parties.remotePort;
  }

  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  accept(): TcpConnection {
    return this.#keeper.accept(this);
  }

  reset(): void {
    if (!this.settled) this.#keeper.reset(this);
  }

  drop(): void {
    if (!this.settled) this.#keeper.drop(this);
  }

  /** The guest gave up. */
  abort(code: "ECONNRESET" | "ETIMEDOUT" | "ECONNABORTED"): void {
    const open = !this.settled;
    this.settled = true;
    if (open) this.#gone.abort(new TcpError(code, this));
  }
}
