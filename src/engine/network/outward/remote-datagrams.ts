import type { IpAddress } from "../../../contract/ip-address.ts";
import type { DialOptions } from "./dial.ts";

/** The host's side of a flow of datagrams. */
export interface RemoteDatagrams {
  /** May be lost, and says nothing then. */
  send(payload: Uint8Array): void;
  close(): void;
}

export interface DatagramHears {
  onDatagram(payload: Uint8Array): void;
  /** Somebody on the way says that one did not arrive; the next may. */
  onFailure(error: Error): void;
  /** Nothing arrives any more. Not called after `close`. */
  onOver(error: Error): void;
}

/** Rejects with an error that has the code of a system call's. What was opened is the caller's. */
export type OpenDatagrams = (
  address: IpAddress,
  port: number,
  hears: DatagramHears,
  options: DialOptions,
) => Promise<RemoteDatagrams>;
