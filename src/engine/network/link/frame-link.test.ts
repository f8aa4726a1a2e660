import { once } from "node:events";
import { duplexPair } from "node:stream";
import { expect, test } from "vitest";
import { FrameLink } from "./frame-link.ts";
import { FrameReader } from "./frame-reader.ts";

const FRAME = 9_014;

function link() {
  const [ours, theirs] = duplexPair();
  const seen = { frames: [] as Uint8Array[], drains: 0, closed: [] as (Error | undefined)[] };
  const closed = Promise.withResolvers<void>();
  const drained = Promise.withResolvers<void>();
  const frameLink = new FrameLink(ours, FRAME, {
    onFrame: (frame) => seen.frames.push(frame),
    onDrain: () => {
      seen.drains++;
      drained.resolve();
    },
    onClose: (error) => {
      seen.closed.push(error);
      closed.resolve();
    },
  });
  return { frameLink, theirs, seen, closed: closed.promise, drained: drained.promise };
}

test("frames go both ways, and the tap sees them", async () => {
  const { frameLink, theirs, seen, closed } = link();
  const tapped: number[] = [];
  frameLink.tap = { frame: (parts) => tapped.push(Buffer.concat(parts).length) };
  const got: string[] = [];
  const two = Promise.withResolvers<void>();
  const reader = new FrameReader(FRAME, (frame) => {
    got.push(Buffer.from(frame).toString());
    if (got.length === 2) two.resolve();
  });
  theirs.on("data", (chunk) => reader.push(chunk));
  expect(frameLink.send([Buffer.from("a"), Buffer.from("b")])).toBe(true);
  expect(frameLink.send([Buffer.from("cde")])).toBe(true);
  await two.promise;
  expect(got).toEqual(["ab", "cde"]);
  theirs.end(Uint8Array.of(0, 0, 0, 1, 7));
  await closed;
  expect(seen.frames).toEqual([Buffer.of(7)]);
  expect(seen.closed).toEqual([undefined]);
  expect(tapped).toEqual([2, 3, 1]);
});

test("tells senders to wait while the other end does not read, and drops at the hard limit", async () => {
  const { frameLink, theirs, seen, drained } = link();
  const frame = new Uint8Array(FRAME);
  let sent = 0;
  while (frameLink.send([frame])) sent++;
  expect(sent).toBeGreaterThan(10);
  expect(seen.drains).toBe(0);
  while (frameLink.dropped === 0) frameLink.send([frame]);
  const bound = frameLink.waiting;
  for (let i = 0; i < 100; i++) expect(frameLink.send([frame])).toBe(false);
  expect(frameLink.waiting).toBe(bound);
  theirs.resume();
  await drained;
  expect(frameLink.send([frame])).toBe(true);
  frameLink[Symbol.dispose]();
});

test("goes on reading while nobody reads what it sends", async () => {
  const { frameLink, theirs, seen } = link();
  while (frameLink.send([new Uint8Array(FRAME)]));
  const frame = Uint8Array.of(0, 0, 0, 1, 7);
  for (let i = 0; i < 50; i++)
    await new Promise((resolve) => theirs.write(Buffer.alloc(5_000, frame), resolve));
  expect(seen.frames.length).toBe(50_000);
  frameLink[Symbol.dispose]();
});

test("a stream that is no link is closed, once, and takes nothing more", async () => {
  const { frameLink, theirs, seen, closed } = link();
  theirs.on("error", () => {});
  theirs.write(Uint8Array.of(0, 0, 0, 1, 7, 255, 255, 255, 255, 1));
  await closed;
  if (!theirs.readableEnded) {
    theirs.resume();
    await once(theirs, "end");
  }
  expect(seen.closed).toEqual([new RangeError("a frame of 4294967295 bytes on a link of 9014")]);
  expect(seen.frames).toEqual([Buffer.of(7)]);
  frameLink.send([Uint8Array.of(1)]);
  expect([frameLink.dropped, frameLink.waiting]).toEqual([1, 0]);
});
