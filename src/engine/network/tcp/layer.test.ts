import { once } from "node:events";
import { text } from "node:stream/consumers";
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ACK, FIN, PSH, RST, SYN } from "../packet/tcp.ts";
import { BackToBack, FLOW, NOTHING_LEFT } from "./testing/back-to-back.ts";
import { settle } from "./testing/manual-clock.ts";
import { GUESTS, OURS, RawGuest } from "./testing/raw-guest.ts";

test("a SYN is answered when the request is accepted, and repeated ones meanwhile ask nobody", async () => {
  const guest = new RawGuest();
  await guest.syn();
  await guest.syn();
  expect(guest.sent).toEqual([]);
  expect(guest.requests).toHaveLength(1);
  expect(guest.requests[0]).toMatchObject({ sourcePort: 40000, destinationPort: 80 });
  const connection = guest.requests[0]!.accept();
  expect(guest.taken()).toEqual([{ flags: SYN | ACK, sequence: 0, acknowledgment: 1, length: 0 }]);
  connection.reset();
});

test("a request that is reset is refused with the guest's number", async () => {
  const guest = new RawGuest();
  await guest.syn();
  guest.requests[0]!.reset();
  guest.requests[0]!.reset();
  expect(guest.taken()).toEqual([{ flags: RST | ACK, sequence: -OURS, acknowledgment: 1, length: 0 }]);
  expect(guest.requests[0]!.accept().destroyed).toBe(true);
  expect(guest.taken()).toEqual([]);
  expect(guest.layer).toMatchObject({ connections: 0, requests: 0 });
});

test("a request that is dropped is not asked for again while the guest's kernel repeats it", async () => {
  const guest = new RawGuest({ requestMs: 1000 });
  await guest.syn();
  guest.requests[0]!.drop();
  await guest.syn();
  expect(guest.requests).toHaveLength(1);
  expect(guest.taken()).toEqual([]);
  await guest.clock.pass(1000);
  expect(guest.layer.requests).toBe(0);
  await guest.syn();
  expect(guest.requests).toHaveLength(2);
  guest.layer.close();
});

test("a guest that resets its request, or begins another, ends it", async () => {
  const guest = new RawGuest();
  await guest.syn();
  await guest.send({ flags: RST, sequence: GUESTS + 1 });
  expect(guest.requests[0]!.signal.aborted).toBe(true);
  await guest.syn();
  await guest.syn(GUESTS + 77);
  expect(guest.requests[1]!.signal.aborted).toBe(true);
  expect(guest.requests).toHaveLength(3);
  expect(guest.layer.requests).toBe(1);
  guest.layer.close();
  expect(guest.requests[2]!.signal.aborted).toBe(true);
});

test("a segment of an unknown connection is reset, but not a reset", async () => {
  const guest = new RawGuest();
  await guest.send({ acknowledgment: OURS + 9 });
  await guest.send({ flags: RST });
  expect(guest.taken()).toEqual([{ flags: RST, sequence: 9, acknowledgment: 0, length: 0 }]);
});

test("more connections than allowed are refused, more requests are left to be repeated", async () => {
  const guest = new RawGuest({ connections: 2, requests: 1 });
  await guest.syn();
  await guest.send({ flags: SYN, sourcePort: 2 });
  expect(guest.requests).toHaveLength(1);
  expect(guest.taken()).toEqual([]);
  guest.requests[0]!.accept().on("error", () => {});
  await guest.send({ flags: SYN, sourcePort: 2 });
  await guest.send({ flags: SYN, sourcePort: 3 });
  expect(guest.requests).toHaveLength(2);
  expect(guest.taken().map(({ flags }) => flags)).toEqual([SYN | ACK, RST | ACK]);
  guest.layer.close();
});

test("a reset counts with the exact number; another in the window is asked about", async () => {
  const guest = new RawGuest();
  const connection = await guest.open();
  const failed = once(connection, "error");
  await guest.send({ flags: RST, sequence: GUESTS + 100 });
  expect(guest.taken()).toEqual([{ flags: ACK, sequence: 1, acknowledgment: 1, length: 0 }]);
  await guest.send({ flags: RST, sequence: GUESTS + 0x7000_0000 });
  expect(guest.taken()).toEqual([]);
  expect(connection.destroyed).toBe(false);
  await guest.send({ flags: RST, sequence: GUESTS + 1 });
  expect(await failed).toMatchObject([{ code: "ECONNRESET" }]);
  expect(guest.layer.connections).toBe(0);
});

test("a SYN within a connection is answered by what is known", async () => {
  const guest = new RawGuest();
  const connection = await guest.open();
  await guest.syn(GUESTS + 50);
  expect(guest.taken()).toEqual([{ flags: ACK, sequence: 1, acknowledgment: 1, length: 0 }]);
  connection.reset();
  expect(guest.taken()).toEqual([{ flags: RST | ACK, sequence: 1, acknowledgment: 1, length: 0 }]);
});

test("what lies beyond a gap is not taken, and is answered each time", async () => {
  const guest = new RawGuest();
  const connection = await guest.open();
  connection.on("data", () => expect.unreachable());
  await guest.send({ sequence: GUESTS + 6 }, Buffer.from("world"));
  await guest.send({ sequence: GUESTS + 6 }, Buffer.from("world"));
  const again = { flags: ACK, sequence: 1, acknowledgment: 1, length: 0 };
  expect(guest.taken()).toEqual([again, again]);
  guest.layer.close();
  connection.on("error", () => {});
});

test("a lone small segment is acknowledged after a little, two full ones at once", async () => {
  const guest = new RawGuest({ delayedAckMs: 5 });
  const connection = await guest.open();
  connection.resume();
  await settle();
  guest.taken();
  await guest.send({}, Buffer.alloc(10));
  expect(guest.taken()).toEqual([]);
  await guest.clock.pass(5);
  expect(guest.taken()).toEqual([{ flags: ACK, sequence: 1, acknowledgment: 11, length: 0 }]);
  // A SYN without the option: 536 bytes are a full segment.
  await guest.send({ sequence: GUESTS + 11 }, Buffer.alloc(2 * 536));
  expect(guest.taken()).toEqual([{ flags: ACK, sequence: 1, acknowledgment: 11 + 2 * 536, length: 0 }]);
  connection.reset();
});

test("a window that is shut is probed with patience, and what waited goes out when it opens", async () => {
  const guest = new RawGuest();
  const connection = await guest.open();
  await guest.send({ window: 0 });
  connection.write("hello");
  await settle();
  expect(guest.taken()).toEqual([]);
  await guest.clock.pass(3100);
  const probe = { flags: ACK, sequence: 0, acknowledgment: 1, length: 0 };
  expect(guest.taken()).toEqual([probe, probe]);
  await guest.send({ window: 1000 });
  expect(guest.taken()).toEqual([{ flags: ACK | PSH, sequence: 1, acknowledgment: 1, length: 5 }]);
  connection.reset();
});

test("the third duplicate acknowledgment has the missing segment sent again", async () => {
  const guest = new RawGuest();
  const connection = await guest.open();
  connection.write(Buffer.alloc(3 * 536));
  await settle();
  expect(guest.taken()).toHaveLength(3);
  for (let i = 0; i < 3; i++) await guest.send({});
  expect(guest.taken()).toEqual([{ flags: ACK, sequence: 1, acknowledgment: 1, length: 536 }]);
  connection.reset();
});

test("a guest that answers nothing is given up", async () => {
  const guest = new RawGuest({ silenceMs: 10_000 });
  const connection = await guest.open();
  const failed = once(connection, "error");
  connection.write("hello");
  await guest.clock.pass(60_000);
  expect(await failed).toMatchObject([{ code: "ETIMEDOUT" }]);
  expect(guest.taken().at(-1)).toMatchObject({ flags: RST | ACK });
  expect(guest.clock.waiting).toBe(0);
});

test("an idle guest is asked whether it is there, and given up if not", async () => {
  const guest = new RawGuest({ keepAliveMs: 1000, keepAliveIntervalMs: 100, silenceMs: 1000 });
  const connection = await guest.open();
  const failed = once(connection, "error");
  await guest.clock.pass(1500);
  expect(guest.taken()[0]).toEqual({ flags: ACK, sequence: 0, acknowledgment: 1, length: 0 });
  await guest.send({});
  await guest.clock.pass(1900);
  expect(connection.destroyed).toBe(false);
  await guest.clock.pass(1000);
  expect(await failed).toMatchObject([{ code: "ETIMEDOUT" }]);
});

test("a full link is spared until it drains", async () => {
  const guest = new RawGuest();
  const connection = await guest.open();
  guest.linkTakesMore = false;
  connection.write(Buffer.alloc(2000));
  await settle();
  expect(guest.taken()).toHaveLength(1);
  await guest.clock.pass(100_000);
  expect(guest.taken()).toEqual([]);
  guest.linkTakesMore = true;
  guest.layer.resume();
  await settle();
  expect(guest.taken().length).toBeGreaterThanOrEqual(3);
  connection.reset();
});

test("the end of a short answer goes with it, if it comes within a turn; what follows does not wait", async () => {
  const guest = new RawGuest();
  const whole = await guest.open();
  whole.write("all");
  await turn();
  whole.end();
  await settle();
  expect(guest.taken()).toMatchObject([{ flags: PSH | FIN | ACK, length: 3 }]);
  whole.reset();

  const talk = await guest.open();
  talk.write("first");
  await settle();
  talk.write("second");
  await turn();
  expect(guest.taken()).toMatchObject([{ length: 5 }, { length: 6 }]);
  talk.reset();
});

test("a reader that does not read shuts the window", async () => {
  const guest = new RawGuest();
  const connection = await guest.open();
  let sequence = GUESTS + 1;
  for (let i = 0; i < 100; i++) {
    await guest.send({ sequence }, Buffer.alloc(1400));
    sequence = guest.sent.at(-1)?.acknowledgment ?? sequence + 1400;
  }
  expect(guest.sent.at(-1)!.window).toBe(0);
  expect(guest.layer.bufferedBytes).toBeLessThanOrEqual(65535);
  guest.taken();
  connection.resume();
  await settle();
  await settle();
  expect(guest.sent.at(-1)!.window).toBeGreaterThan(30_000);
  connection.reset();
  expect(guest.layer.bufferedBytes).toBe(0);
});

test("a TIME-WAIT holds nothing of the stream that was", async () => {
  const pair = new BackToBack();
  const ended = async () => {
    const [near, far] = await pair.open();
    near.resume().end();
    far.resume().end();
    await pair.clock.passUntil(() => near.destroyed && far.destroyed, 60_000);
    return new WeakRef(near);
  };
  const near = await ended();
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  await expect
    .poll(() => {
      collect();
      return near.deref() === undefined;
    })
    .toBe(true);
  expect(pair.near.connections).toBe(1);
  await pair.leftOver();
});

test("a new SYN takes the place of a TIME-WAIT", async () => {
  const guest = new RawGuest();
  const connection = await guest.open();
  connection.resume().end();
  await settle();
  await guest.send({ flags: FIN | ACK, acknowledgment: OURS + 2 });
  expect(guest.layer.connections).toBe(1);
  await guest.syn(GUESTS + 500);
  expect(guest.requests).toHaveLength(1);
  expect(guest.layer.connections).toBe(0);
  guest.layer.close();
});

test("connecting is refused, times out, and can be given up", async () => {
  const pair = new BackToBack();
  const refused = expect(pair.near.connect(FLOW)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  await expect(pair.near.connect(FLOW)).rejects.toMatchObject({ code: "EADDRINUSE" });
  await pair.clock.pass(10);
  pair.requests.shift()!.reset();
  await pair.clock.pass(10);
  await refused;
  const late = expect(pair.near.connect(FLOW)).rejects.toMatchObject({ code: "ETIMEDOUT" });
  await pair.clock.pass(200_000);
  await late;
  const stop = new AbortController();
  const stopped = expect(pair.near.connect(FLOW, stop.signal)).rejects.toThrow("enough");
  stop.abort(new Error("enough"));
  await stopped;
  expect(await pair.leftOver()).toEqual(NOTHING_LEFT);
});

test("two ends that connect to each other at once have one connection", async () => {
  const pair = new BackToBack();
  const { source, sourcePort, destination, destinationPort } = FLOW;
  const reverse = {
    source: destination,
    sourcePort: destinationPort,
    destination: source,
    destinationPort: sourcePort,
  };
  const both = Promise.all([pair.near.connect(FLOW), pair.far.connect(reverse)]);
  await pair.clock.pass(100);
  const [near, far] = await both;
  near.end("from near");
  far.end("from far");
  const read = Promise.all([text(near), text(far)]);
  await pair.clock.pass(100);
  expect(await read).toEqual(["from far", "from near"]);
  expect(await pair.leftOver()).toEqual(NOTHING_LEFT);
});

test("whatever segments come, nothing throws and no more is held than allowed", async () => {
  const near = (base: number) =>
    fc.oneof(
      fc.integer({ min: -3, max: 3000 }).map((n) => (base + n) >>> 0),
      fc.nat(0xffffffff),
    );
  const segment = fc.record({
    sourcePort: fc.constantFrom(40000, 40001),
    sequence: near(GUESTS),
    acknowledgment: near(OURS),
    flags: fc.oneof(
      fc.constantFrom(SYN, ACK, ACK | PSH, FIN | ACK, RST, SYN | ACK),
      fc.integer({ min: 0, max: 255 }),
    ),
    window: fc.constantFrom(0, 1, 500, 65535),
    length: fc.constantFrom(0, 0, 1, 100, 1400),
    act: fc.constantFrom("none", "none", "accept", "write", "end", "reset", "wait"),
  });
  const run = fc.asyncProperty(fc.array(segment, { maxLength: 60 }), async (segments) => {
    const guest = new RawGuest({ connections: 8, requests: 2, bufferBytes: 100_000 });
    const connections = [await guest.open()];
    connections[0]!.on("error", () => {});
    for (const { length, act, ...fields } of segments) {
      const before = guest.sent.length;
      await guest.send(fields, Buffer.alloc(length));
      expect(guest.sent.length - before).toBeLessThanOrEqual(40);
      if (act === "accept") {
        const connection = guest.requests.pop()?.accept();
        connection?.on("error", () => {});
        if (connection !== undefined) connections.push(connection);
      }
      const last = connections.at(-1)!;
      if (act === "write" && last.writable) last.write(Buffer.alloc(500));
      if (act === "end") last.end();
      if (act === "reset") last.reset();
      if (act === "wait") await guest.clock.pass(1500);
      expect(guest.layer.connections).toBeLessThanOrEqual(8);
      expect(guest.layer.requests).toBeLessThanOrEqual(2);
      expect(guest.layer.bufferedBytes).toBeLessThanOrEqual(100_000);
    }
    guest.layer.close();
    await settle();
    expect(guest.layer).toMatchObject({ connections: 0, requests: 0, bufferedBytes: 0 });
    expect(guest.clock.waiting).toBe(0);
  });
  await fc.assert(run, { numRuns: 200 });
});

test("when there is no room for a request, the oldest that is to have no answer is forgotten", async () => {
  const guest = new RawGuest({ requests: 2 });
  for (const sourcePort of [1, 2, 3, 4]) {
    await guest.send({ flags: SYN, sourcePort });
    guest.requests.at(-1)!.drop();
  }
  expect(guest.requests.map(({ sourcePort }) => sourcePort)).toEqual([1, 2, 3, 4]);
  expect(guest.layer.requests).toBe(2);
  expect(guest.clock.waiting).toBe(2);
  await guest.send({ flags: SYN, sourcePort: 4 });
  expect(guest.requests).toHaveLength(4);
  guest.layer.close();
});

test("policy ends a connection or a request with a reset", async () => {
  const guest = new RawGuest();
  const connection = await guest.open();
  const failed = once(connection, "error");
  guest.layer.abort(connection.flow);
  expect(await failed).toMatchObject([{ code: "ECONNABORTED" }]);
  expect(guest.taken()).toEqual([{ flags: RST | ACK, sequence: 1, acknowledgment: 1, length: 0 }]);
  await guest.syn();
  guest.layer.abort(guest.requests[0]!);
  expect(guest.requests[0]!.signal.aborted).toBe(true);
  expect(guest.taken()).toMatchObject([{ flags: RST | ACK, acknowledgment: 1 }]);
  expect(guest.layer).toMatchObject({ connections: 0, requests: 0 });
});
