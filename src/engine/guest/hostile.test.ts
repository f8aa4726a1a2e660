import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SandboxError } from "../../contract/errors.ts";
import { AgentConnection } from "./connection.ts";
import { encodeFrame, type FrameType, type StreamId } from "./frame.ts";
import type { ModelPort as Port } from "./testing/port.ts";
import { ModelPort } from "./testing/port.ts";
import { setup } from "./testing/session.ts";

// A guest that was taken over sends whatever it likes. The connection may close with `internal`; it must never
// throw anywhere else, hang, or keep more than the protocol's bounds allow.

const SECONDS = 4;

const uncaught = vi.fn();

beforeEach(() => {
  process.on("uncaughtException", uncaught);
  process.on("unhandledRejection", uncaught);
});

afterEach(() => {
  process.off("uncaughtException", uncaught);
  process.off("unhandledRejection", uncaught);
  expect(uncaught).not.toHaveBeenCalled();
});

/** A connection with a process, and what the guest sends from now on. */
async function begin(port: Port) {
  const stream = port.connect();
  const push = stream.push.bind(stream);
  const connection = await AgentConnection.open(stream, { filler: false, setup });
  const guestProcess = await connection.start(1, { argv: ["x"], stdin: true });
  guestProcess.onOutput((stream, offset, chunk) => guestProcess.ack(stream, offset + chunk.length));
  void guestProcess.write(Buffer.alloc(1_000));
  return { stream, connection, guestProcess, push };
}

const randomFrame = fc
  .record({
    channel: fc.constantFrom(0, 1, 1, 2, 2 ** 31 - 1),
    type: fc.constantFrom<FrameType>(1, 2, 3),
    stream: fc.constantFrom<StreamId>(0, 1, 2),
    payload: fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.constantFrom(
        ...[
          // {"op": "exit", "code": 0}, {"op": "started", "pid": 1}, {"op": "reply", "id": 1}, {"op": "log"}
          "a2626f70646578697464636f646500",
          "a2626f7067737461727465646370696401",
          "a2626f70657265706c7962696401",
          "a1626f70636c6f67",
        ].map((hex) => Buffer.from(hex, "hex")),
      ),
    ),
  })
  .map((frame) => Buffer.concat(encodeFrame({ ...frame, payload: Buffer.from(frame.payload) })));

test(
  "random frames and random bytes: closed with internal, or taken",
  async () => {
    const sent = fc.array(fc.oneof({ weight: 4, arbitrary: randomFrame }, fc.uint8Array({ maxLength: 60 })), {
      maxLength: 20,
    });
    await fc.assert(
      fc.asyncProperty(sent, async (chunks) => {
        const { connection, push, stream } = await begin(new ModelPort());
        for (const chunk of chunks) if (!stream.destroyed) push(Buffer.from(chunk));
        await new Promise(setImmediate);
        await new Promise(setImmediate);
        connection.close();
        const { by, error } = await connection.closed;
        if (by === "violation") expect(error.code).toBe("internal");
        else expect(by).toBe("host");
      }),
      { interruptAfterTimeLimit: SECONDS * 1_000, numRuns: 100_000 },
    );
  },
  SECONDS * 3_000,
);

const mutation = fc.record({
  at: fc.nat({ max: 900 }),
  kind: fc.constantFrom("change", "remove", "double"),
  value: fc.nat({ max: 255 }),
  length: fc.integer({ min: 1, max: 20 }),
});
type Mutation = typeof mutation extends fc.Arbitrary<infer T> ? T : never;

/** A port whose guest is good, with bytes changed on their way to the host. */
function mutatedPort(mutations: Mutation[]): Port {
  const port = new ModelPort();
  port.guest.onStart = (process) => {
    process.write(1, Buffer.alloc(200, 1));
    process.write(2, Buffer.alloc(20, 2));
    process.exit({ code: 0 });
  };
  const connect = port.connect.bind(port);
  port.connect = () => {
    const stream = connect();
    const push = stream.push.bind(stream);
    let seen = 0;
    stream.push = (chunk: Buffer | null) => {
      if (chunk === null) return push(null);
      let bytes = Buffer.from(chunk);
      for (const { at, kind, value, length } of mutations) {
        const i = at - seen;
        if (i < 0 || i >= bytes.length) continue;
        if (kind === "change") bytes[i] = value;
        else if (kind === "remove") bytes = Buffer.concat([bytes.subarray(0, i), bytes.subarray(i + length)]);
        else bytes = Buffer.concat([bytes.subarray(0, i + length), bytes.subarray(i)]);
      }
      seen += chunk.length;
      return bytes.length === 0 || push(bytes);
    };
    return stream;
  };
  return port;
}

test(
  "what a good guest says, with bytes changed, removed or doubled: an error for who waits, or nothing",
  async () => {
    const outcomes = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { maxLength: 3 }), async (mutations) => {
        const wait = { timeoutMs: 15 };
        let connection: AgentConnection | undefined;
        let outcome = "exited";
        try {
          const stream = mutatedPort(mutations).connect();
          connection = await AgentConnection.open(stream, { filler: false, setup, ...wait });
          const process = await connection.start(1, { argv: ["x"] }, wait);
          process.onOutput((stream, offset, chunk) => process.ack(stream, offset + chunk.length));
          await Promise.race([process.exited, connection.ping(wait)]);
        } catch (error) {
          expect(error).toBeInstanceOf(SandboxError);
          outcome = (error as SandboxError).code;
        }
        connection?.close();
        const reason = await connection?.closed;
        if (reason?.by === "violation") expect(reason.error.code).toBe("internal");
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }),
      { interruptAfterTimeLimit: SECONDS * 1_000, numRuns: 100_000 },
    );
    // The mutations reach all stages: without this, a test that only ever timed out would pass.
    for (const outcome of ["exited", "internal", "timeout"])
      expect(outcomes.get(outcome)).toBeGreaterThan(10);
  },
  SECONDS * 3_000,
);

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** What lives after a collection, on the heap and beside it. */
function heldBytes(): number {
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

test("a flood of tiny output frames to a reader that hangs costs no more than the window", async () => {
  const { connection, guestProcess, push } = await begin(new ModelPort());
  const other = await connection.start(2, { argv: ["y"] });
  other.onOutput(() => new Promise(() => {}));
  const tiny = Buffer.concat(encodeFrame({ channel: 2, type: 2, stream: 1, payload: Buffer.of(1) }));
  const chunk = Buffer.concat(Array.from({ length: 4_096 }, () => tiny));
  const before = heldBytes();
  for (let sent = 0; sent < 1024 * 1024; sent += 4_096) {
    push(Buffer.from(chunk));
    await new Promise(setImmediate);
    await new Promise(setImmediate);
  }
  await connection.ping();
  // A Buffer per byte would be 100 MiB, the frames that they came in 14.
  expect(heldBytes() - before).toBeLessThan(8 * 1024 * 1024);
  push(tiny);
  expect((await connection.closed).error.message).toContain("data beyond its credit");
  await expect(guestProcess.exited).rejects.toMatchObject({ code: "internal" });
});

test("a flood of tiny frames leaves the event loop to others", async () => {
  const { connection, push, stream } = await begin(new ModelPort());
  // A credit that repeats the last one is legal, and the cheapest frame that does nothing.
  const payload = Buffer.alloc(16);
  payload.writeBigUInt64BE(1_000n, 0);
  payload.writeBigUInt64BE(263_144n, 8);
  const credit = Buffer.concat(encodeFrame({ channel: 1, type: 3, stream: 0, payload }));
  const chunk = Buffer.concat(Array.from({ length: 2_200 }, () => credit));
  await vi.waitFor(() => expect(stream.readableFlowing).toBe(true));
  let turns = 0;
  const counting = setInterval(() => (turns += 1), 0);
  for (let i = 0; i < 200; i++) push(chunk);
  await vi.waitFor(() => expect(stream.readableLength).toBe(0), { timeout: 10_000, interval: 1 });
  clearInterval(counting);
  expect(turns).toBeGreaterThan(20);
  await connection.ping();
});
