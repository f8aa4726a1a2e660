import type { Duplex } from "node:stream";
import type { DnsService } from "./service.ts";

/**
 * DNS over TCP (RFC 7766): each message after its length, questions answered as their answers come, many at a time. Bounds: 32
 * questions at a time, then reading stops; 10 s without a question; a message of at most 65,535 bytes is held.
 */

const MAX_PENDING = 32;
const IDLE_MS = 10_000;

/** Serves until the guest is done or `signal` aborts; owns the stream and destroys it. Never rejects. */
export async function serveDnsStream(
  stream: Duplex,
  service: DnsService,
  signal: AbortSignal,
  idleMs = IDLE_MS,
): Promise<void> {
  const gone = new AbortController();
  const idle = setTimeout(() => stream.destroy(), idleMs);
  const abort = () => stream.destroy();
  signal.addEventListener("abort", abort, { once: true });
  // Errors of the guest's side end the loop below.
  stream.on("error", () => {});
  stream.on("close", () => gone.abort());
  const pending = new Set<Promise<void>>();
  try {
    if (signal.aborted) return;
    for await (const message of messagesOf(stream)) {
      idle.refresh();
      const answering = service.answer(message, "tcp", gone.signal).then((answer) => {
        pending.delete(answering);
        if (answer === undefined || stream.destroyed) return;
        const length = Buffer.alloc(2);
        length.writeUInt16BE(answer.length);
        stream.write(Buffer.concat([length, answer]));
      });
      pending.add(answering);
      if (pending.size >= MAX_PENDING) await Promise.race(pending);
      if (stream.writableNeedDrain) await drained(stream);
    }
    await Promise.all(pending);
    stream.end();
  } catch {
    // The stream broke: nobody is left to answer.
  } finally {
    clearTimeout(idle);
    signal.removeEventListener("abort", abort);
    if (!stream.writableEnded) stream.destroy();
  }
}

async function drained(stream: Duplex): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.once("drain", resolve);
  stream.once("close", resolve);
  await promise;
}

async function* messagesOf(stream: Duplex): AsyncGenerator<Buffer> {
  let held: Buffer = Buffer.alloc(0);
  // Whoever iterates would else destroy the stream at its end, and answers are still to be written.
  for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
      const end = 2 + held.readUInt16BE(0);
      yield held.subarray(2, end);
      held = held.subarray(end);
    }
  }
}
