import type { Duplex } from "node:stream";

/** What goes on of a chunk. A rejection ends the direction. */
export type Through = (chunk: Buffer) => readonly Buffer[] | Promise<readonly Buffer[]>;

/**
 * One direction of a connection. Reads no further than the other side takes; the end of one side is the end of the other. Made of
 * events: two asynchronous iterations were a third of what an open connection holds, and a promise for each chunk.
 *
 * Rejects when a side breaks, and leaves both to whoever called.
 */
export function pump(from: Duplex, to: Duplex, through: Through): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let over = false;
  let waitsForRoom = false;
  /** A chunk is on its way through; the end may come meanwhile, also of a stream that is paused. */
  let held = false;
  let ended = false;

  const fail = (error: unknown): void => {
    over = true;
    from.pause();
    reject(error);
  };
  const pass = (parts: readonly Buffer[]): void => {
    for (const part of parts) {
      if (to.destroyed) {
        fail(gone());
        return;
      }
      if (!to.write(part)) waitsForRoom = true;
    }
    if (waitsForRoom) from.pause();
  };
  const passLater = async (parts: Promise<readonly Buffer[]>): Promise<void> => {
    from.pause();
    held = true;
    pass(await parts);
    held = false;
    if (over) return;
    if (ended) end();
    else if (!waitsForRoom) from.resume();
  };
  const end = (): void => {
    over = true;
    to.end();
    resolve();
  };

  from.on("data", (chunk: Buffer) => {
    if (over) return;
    try {
      const parts = through(chunk);
      if ("then" in parts) passLater(parts).catch(fail);
      else pass(parts);
    } catch (error) {
      fail(error);
    }
  });
  from.on("end", () => {
    ended = true;
    if (!over && !held) end();
  });
  // A stream that is destroyed without an error is not over, it broke off.
  from.on("close", () => over || ended || fail(new Error("the connection broke off")));
  from.on("error", fail);
  to.on("drain", () => {
    if (!waitsForRoom) return;
    waitsForRoom = false;
    from.resume();
  });
  to.on("close", () => !over && waitsForRoom && fail(gone()));
  if (from.destroyed) fail(new Error("the connection broke off"));
  return promise;
}

const gone = (): Error => new Error("the other side is gone");
