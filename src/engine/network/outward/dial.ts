import { connect, type Socket } from "node:net";
import { IpAddress } from "../../../contract/ip-address.ts";

/**
 * Opens the host's side of a connection, and says what a failure of it is to the guest: refused is refused, unreachable is
 * unreachable, silence is silence. Dials literal addresses only, so that no name is looked up after the decision.
 */

export interface DialOptions {
  timeoutMs: number;
  signal: AbortSignal;
  /** What the address is known by, where that is one name. For proxies that look names up; nothing else goes by it. */
  name?: string | undefined;
}

/** Rejects with the socket's error, or with `ETIMEDOUT` or `ECANCELED` as its code. The socket is the caller's. */
export type Dial = (address: IpAddress, port: number, options: DialOptions) => Promise<Socket>;

export const LOOPBACK = { 4: IpAddress.parse("127.0.0.1")!, 6: IpAddress.parse("::1")! };

/** Without anything in between. */
export const dialDirect: Dial = (address, port, options) => dialHost(address.text, port, options);

/** As `Dial`, for hosts that the user's settings name. */
export function dialHost(host: string, port: number, { timeoutMs, signal }: DialOptions): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({
    host,
    port,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
  });
  const settle = (error?: Error) => {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
    socket.removeListener("error", settle);
    if (error === undefined) {
      resolve(socket);
      return;
    }
    // A second error of a socket that nobody holds must not end the process.
    socket.on("error", () => {});
    socket.destroy();
    reject(error);
  };
  const abort = () => settle(coded("ECANCELED", "the guest gave up"));
  const timer = setTimeout(() => settle(coded("ETIMEDOUT", `no answer in ${timeoutMs} ms`)), timeoutMs);
  signal.addEventListener("abort", abort, { once: true });
  socket.once("connect", () => settle());
  socket.once("error", settle);
  if (signal.aborted) abort();
  return promise;
}

/** A far side that is gone without a word is noticed, and its connection does not stay for ever. */
const KEEP_ALIVE_MS = 120_000;

/** What the guest is told of a failed dial. */
export type Fate = "reset" | "host" | "network" | "drop";

const FATES: Record<string, Fate> = {
  ECONNREFUSED: "reset",
  ECONNRESET: "reset",
  EHOSTUNREACH: "host",
  EHOSTDOWN: "host",
  ENETUNREACH: "network",
  ENETDOWN: "network",
  EADDRNOTAVAIL: "network",
  EAFNOSUPPORT: "network",
  ETIMEDOUT: "drop",
  ECANCELED: "drop",
};

/** What is not known (no descriptors left, a local firewall) is told too: a reset. */
export function fateOf(error: unknown): Fate {
  return FATES[(error as { code?: string }).code ?? ""] ?? "reset";
}

const coded = (code: string, message: string): Error => Object.assign(new Error(message), { code });
