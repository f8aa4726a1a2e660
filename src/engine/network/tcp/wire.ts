import type { IpAddress } from "../../../contract/ip-address.ts";
import type { TcpOptions } from "../packet/tcp.ts";
import type { Clock } from "./clock.ts";
import type { Endpoint } from "./endpoint.ts";
import type { GuestPresence } from "./guest-presence.ts";
import type { Budget, TcpLimits } from "./limits.ts";

/** The two ends of a connection as the link sees them, whoever began it. */
export interface Parties {
  guest: IpAddress;
  guestPort: number;
  /** Whom we stand for towards the guest. */
  remote: IpAddress;
  remotePort: number;
}

export interface Reply {
  sequence: number;
  acknowledgment: number;
  flags: number;
  window: number;
}

/** What the connections of one layer share. */
export interface Wire {
  readonly clock: Clock;
  readonly limits: TcpLimits;
  readonly budget: Budget;
  readonly presence: GuestPresence;
  /** Whether the link has asked to be spared until `resume()`. */
  readonly full: boolean;
  /** Payload of a segment towards this address, as far as our link goes. */
  segmentSize(to: IpAddress): number;
  send(parties: Parties, reply: Reply, payload: Uint8Array, options?: TcpOptions): void;
  /** Has `endpoint.flush()` called soon: when all frames that came together were seen, or the link drains. */
  touch(endpoint: Endpoint): void;
  /** As `touch`, but after everything that may be read has been looked at once more. */
  touchLater(endpoint: Endpoint): void;
  release(endpoint: Endpoint): void;
}
