import type { Duplex } from "node:stream";
import type { FlowAddress } from "../flow.ts";

/** The guest's side of what goes outwards, as this folder needs it: tcp/ and gateway/ give more. */

export interface GuestStream extends Duplex {
  /** Ends it at once; the guest sees a RST. */
  reset(): void;
}

/** A SYN that waits for its answer. */
export interface GuestRequest extends FlowAddress {
  accept(): GuestStream;
  /** Nothing listens there. */
  reset(): void;
  /** Silence. */
  drop(): void;
  /** The guest gave up. */
  readonly signal: AbortSignal;
}

/** Codes of ICMP's "unreachable". */
export type Unreachable = "port" | "host" | "network" | "prohibited";

/** Datagrams of one pair of addresses and ports; ends when it was idle for too long or was closed. */
export interface GuestDatagrams extends FlowAddress, AsyncIterable<Uint8Array> {
  /** It ended since nobody listens in the guest. */
  readonly refused?: boolean;
  reply(payload: Uint8Array): void;
  unreachable(code: Unreachable): void;
  close(): void;
}
