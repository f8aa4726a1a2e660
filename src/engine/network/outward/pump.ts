import type { Duplex } from "node:stream";

/** One direction of a connection. Reads no further than the other side takes; the end of one side is the end of the other. */
export async function pump(
  from: Duplex,
  to: Duplex,
  /** What goes on of a chunk. A rejection ends both sides. */
  through: (chunk: Buffer) => Promise<readonly Buffer[]> | readonly Buffer[],
): Promise<void> {
  for await (const chunk of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    for (const part of await through(chunk)) {
      if (to.destroyed) throw new Error("the other side is gone");
      if (!to.write(part)) await roomIn(to);
    }
  }
  // A stream that was destroyed without an error ends its iteration like one that is over.
  if (!from.readableEnded) throw new Error("the connection broke off");
  to.end();
}

async function roomIn(stream: Duplex): Promise<void> {
  if (stream.destroyed) throw new Error("the other side is gone");
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.once("drain", resolve);
  stream.once("close", resolve);
  await promise;
  stream.off("drain", resolve);
  stream.off("close", resolve);
}
