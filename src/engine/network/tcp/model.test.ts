import fc from "fast-check";
import { expect, test } from "vitest";
import type { TcpConnection } from "./connection.ts";
import { BackToBack, NOTHING_LEFT } from "./testing/back-to-back.ts";
import type { Fate } from "./testing/lossy-link.ts";
import type { ManualClock } from "./testing/manual-clock.ts";

/** What one end does. */
interface Part {
  /** Sizes of what it writes, one after the other. */
  writes: number[];
  /** How long it does not read, after each piece that it has read. */
  pausesMs: number[];
  /** Resets in place of the write with this number. */
  resetAt: number | undefined;
}

const fates = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.constant<Fate>("pass") },
    { weight: 3, arbitrary: fc.constantFrom<Fate>("lose", "double", "late", "stall") },
  ),
  { maxLength: 60 },
);
const size = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 3000 }), fc.constant(30_000));
const writes = fc.array(size, { maxLength: 15 });
const pausesMs = fc.array(fc.constantFrom(0, 3, 900), { maxLength: 10 });
const polite = fc.record({ writes, pausesMs, resetAt: fc.constant(undefined) });
const rude = fc.record({ writes, pausesMs, resetAt: fc.integer({ min: 0, max: 15 }) });
const initial = fc.constantFrom(0, 1, 0x7fffff00, 0xffffff00, 0xffffffff, 12345);
/** Small limits, so that windows shut. */
const bufferBytes = fc.constantFrom(40_000, 64 * 1024 * 1024);
const mtu = fc.constantFrom(576, 1500, 65520);

/** The end of a connection, as its user sees it. */
class Actor {
  readonly received: Buffer[] = [];
  ends = 0;
  closes = 0;
  error: NodeJS.ErrnoException | undefined;
  sent = 0;
  #paused = 0;

  readonly connection: TcpConnection;
  readonly part: Part;
  readonly clock: ManualClock;

  constructor(connection: TcpConnection, part: Part, clock: ManualClock) {
    this.connection = connection;
    this.part = part;
    this.clock = clock;
    connection.on("data", (chunk: Buffer) => this.#read(chunk));
    connection.on("end", () => this.ends++);
    connection.on("close", () => this.closes++);
    connection.on("error", (error) => {
      this.error = error;
    });
    this.#write(0);
  }

  #read(chunk: Buffer): void {
    this.received.push(Buffer.from(chunk));
    const ms = this.part.pausesMs[this.#paused++] ?? 0;
    if (ms === 0) return;
    this.connection.pause();
    this.clock.after(ms, () => this.connection.resume());
  }

  #write(index: number): void {
    const { connection, part } = this;
    if (index === part.resetAt) connection.reset();
    else if (index >= part.writes.length) connection.end();
    else {
      const bytes = pattern(this.sent, part.writes[index]!);
      this.sent += bytes.length;
      connection.write(bytes, () => {
        if (!connection.destroyed) this.#write(index + 1);
      });
    }
  }
}

/** Bytes that tell where in a stream they belong. */
function pattern(offset: number, length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => ((offset + i) * 2654435761) >>> 13));
}

test("whatever the link does, each end reads what the other wrote, and its end once", async () => {
  const run = fc.asyncProperty(
    fates,
    fates,
    polite,
    polite,
    initial,
    bufferBytes,
    mtu,
    async (there, back, nearPart, farPart, first, bytes, packet) => {
      const options = {
        initialSequence: () => first,
        limits: { bufferBytes: bytes, timeWaitMs: 120_000 },
        mtu: packet,
      };
      const pair = new BackToBack({ there, back }, options);
      const [nearEnd, farEnd] = await pair.open();
      const near = new Actor(nearEnd, nearPart, pair.clock);
      const far = new Actor(farEnd, farPart, pair.clock);
      await pair.clock.passUntil(() => near.closes + far.closes === 2, 600_000);
      for (const [reader, writer] of [
        [near, far],
        [far, near],
      ] as const) {
        expect(reader.error).toBeUndefined();
        expect(Buffer.concat(reader.received).equals(pattern(0, writer.sent))).toBe(true);
        expect(writer.sent).toBe(writer.part.writes.reduce((sum, length) => sum + length, 0));
        expect(reader).toMatchObject({ ends: 1, closes: 1 });
      }
      expect(await pair.leftOver()).toEqual(NOTHING_LEFT);
    },
  );
  await fc.assert(run, { numRuns: 80 });
}, 60_000);

test("a reset at any instant ends both ends, and nothing is read that was not written", async () => {
  const run = fc.asyncProperty(
    fates,
    fates,
    rude,
    fc.oneof(polite, rude),
    initial,
    bufferBytes,
    async (there, back, nearPart, farPart, first, bytes) => {
      const options = { initialSequence: () => first, limits: { bufferBytes: bytes, timeWaitMs: 120_000 } };
      const pair = new BackToBack({ there, back }, options);
      const [nearEnd, farEnd] = await pair.open();
      const near = new Actor(nearEnd, nearPart, pair.clock);
      const far = new Actor(farEnd, farPart, pair.clock);
      await pair.clock.passUntil(() => near.closes + far.closes === 2, 1_000_000);
      for (const [reader, writer] of [
        [near, far],
        [far, near],
      ] as const) {
        const read = Buffer.concat(reader.received);
        expect(read.equals(pattern(0, writer.sent).subarray(0, read.length))).toBe(true);
        expect(reader.closes).toBe(1);
        if (reader.ends > 0) expect(read.length).toBe(writer.sent);
        expect([undefined, "ECONNRESET"]).toContain(reader.error?.code);
      }
      expect(await pair.leftOver()).toEqual(NOTHING_LEFT);
    },
  );
  await fc.assert(run, { numRuns: 80 });
}, 60_000);
