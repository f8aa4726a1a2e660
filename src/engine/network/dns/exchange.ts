import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";
import type { ResolverAddress } from "./host-resolvers.ts";

/**
 * One question to one resolver and the answers that come back, over UDP or TCP. Which answer is right the caller says, since
 * anybody may send a datagram: the socket is connected, so the kernel drops what comes from elsewhere, and each question has a
 * socket, and so a source port, of its own.
 */

/** Rejects with the socket's error, or `ETIMEDOUT` or `ECANCELED` as its code. */
export function askOverUdp<T>(
  server: ResolverAddress,
  query: Uint8Array,
  accept: (message: Buffer) => T | undefined,
  wait: { timeoutMs: number; signal: AbortSignal },
): Promise<T> {
  const socket = createSocket(isIPv6(server.host) ? "udp6" : "udp4");
  return bounded<T>(
    wait,
    () => socket.close(),
    (resolve, reject) => {
      socket.on("error", reject);
      socket.on("message", (message) => {
        const answer = accept(message);
        if (answer !== undefined) resolve(answer);
      });
      socket.connect(server.port, server.host, (error?: Error) => {
        if (error) return reject(error);
        socket.send(query, (failure) => failure && reject(failure));
      });
    },
  );
}

/** As over UDP; an answer that is not accepted is an error, since nobody else can have sent it. */
export function askOverTcp<T>(
  server: ResolverAddress,
  query: Uint8Array,
  accept: (message: Buffer) => T | undefined,
  wait: { timeoutMs: number; signal: AbortSignal },
): Promise<T> {
  const socket = connect({ host: server.host, port: server.port });
  return bounded<T>(
    wait,
    () => socket.destroy(),
    (resolve, reject) => {
      let held = Buffer.alloc(0);
      socket.on("error", reject);
      socket.on("close", () => reject(coded("ECONNRESET", "the resolver hung up")));
      socket.on("data", (chunk) => {
        held = Buffer.concat([held, chunk]);
        // At most 65,537 bytes and a chunk: the length is two bytes.
        if (held.length < 2 || held.length < 2 + held.readUInt16BE(0)) return;
        const answer = accept(held.subarray(2, 2 + held.readUInt16BE(0)));
        if (answer === undefined) reject(coded("EBADMSG", "the resolver answered something else"));
        else resolve(answer);
      });
      const length = Buffer.alloc(2);
      length.writeUInt16BE(query.length);
      socket.write(Buffer.concat([length, query]));
    },
  );
}

/** Settles once, in time, and disposes in any case. */
async function bounded<T>(
  wait: { timeoutMs: number; signal: AbortSignal },
  dispose: () => void,
  start: (resolve: (value: T) => void, reject: (error: Error) => void) => void,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const timer = setTimeout(() => reject(coded("ETIMEDOUT", "the resolver did not answer")), wait.timeoutMs);
  const abort = () => reject(coded("ECANCELED", "nobody waits for the answer any more"));
  wait.signal.addEventListener("abort", abort, { once: true });
  try {
    if (wait.signal.aborted) abort();
    start(resolve, reject);
    return await promise;
  } finally {
    clearTimeout(timer);
    wait.signal.removeEventListener("abort", abort);
    dispose();
  }
}

const coded = (code: string, message: string): Error => Object.assign(new Error(message), { code });
