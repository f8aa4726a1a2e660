import type { Duplex } from "node:stream";
import { Writable } from "node:stream";
import { beforeEach, expect, test } from "vitest";
import type { Frame } from "./frame.ts";
import { FrameDecoder } from "./frame-decoder.ts";
import { type CreditSource, type DataSource, Sender } from "./sender.ts";

/** A stream that takes what is written when it is told to. */
class Gate extends Writable {
  readonly batches: Frame[][] = [];
  open = true;
  readonly #decoder = new FrameDecoder();
  #held: (() => void)[] = [];

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.batches.push(chunks.flatMap(({ chunk }) => [...this.#decoder.push(chunk)]));
    if (this.open) done();
    else this.#held.push(done);
  }

  release(): void {
    for (const done of this.#held.splice(0)) done();
  }
}

let gate: Gate;
let sender: Sender;

beforeEach(() => {
  gate = new Gate();
  sender = new Sender(gate as unknown as Duplex);
});

/** A source of as many frames as it is told, each of `max` bytes. */
function source(channel: number, frames: number): DataSource & { left: number } {
  return {
    channel,
    stream: 0,
    left: frames,
    take(max) {
      if (this.left === 0) return undefined;
      this.left -= 1;
      return Buffer.alloc(max, channel);
    },
  };
}

function creditSource(channel: number): CreditSource & { taken: number } {
  return {
    channel,
    stream: 1,
    taken: 0,
    takeCredit() {
      this.taken += 1;
      return { acked: this.taken, limit: 100 };
    },
  };
}

function sent(): string[] {
  return gate.batches
    .flat()
    .map(({ type, channel }) => `${["", "control", "data", "credit"][type]} ${channel}`);
}

const turn = () => new Promise(setImmediate);

test("control goes first, then credit, then data, all of one turn in one write", async () => {
  sender.data(source(1, 1));
  sender.credit(creditSource(2));
  sender.control(3, Buffer.from("a0", "hex"));
  await turn();
  expect(gate.batches).toHaveLength(1);
  expect(sent()).toEqual(["control 3", "credit 2", "data 1"]);
});

test("each source gives one frame in turn", async () => {
  sender.data(source(1, 3));
  sender.data(source(2, 2));
  sender.data(source(3, 1));
  await turn();
  expect(
    sent()
      .map((frame) => frame.at(-1))
      .join(""),
  ).toBe("123121");
});

test("a stream's credits are joined into its newest", async () => {
  const credit = creditSource(1);
  for (let i = 0; i < 10; i++) sender.credit(credit);
  await turn();
  expect(sent()).toEqual(["credit 1"]);
  expect(credit.taken).toBe(1);
});

test("data waits for a stream that does not take it, and control overtakes what waits", async () => {
  gate.open = false;
  const much = source(1, 100);
  sender.data(much);
  await turn();
  // 256 KiB are with the stream; the rest stays where it can be overtaken.
  expect(much.left).toBe(96);
  sender.control(2, Buffer.from("a0", "hex"));
  await turn();
  expect(much.left).toBe(96);
  gate.open = true;
  gate.release();
  await turn();
  await turn();
  expect(much.left).toBe(0);
  expect(sent().indexOf("control 2")).toBe(4);
});

test("control is bounded for a guest that does not read, but for what is urgent", async () => {
  gate.open = false;
  sender.data(source(1, 100));
  await turn();
  const payload = Buffer.alloc(262_144);
  const fill = () => {
    for (let i = 0; i < 100; i++) sender.control(1, payload);
  };
  expect(fill).toThrow(expect.objectContaining({ code: "resource_exhausted" }));
  sender.control(7, Buffer.from("a0", "hex"), true);
  gate.open = true;
  gate.release();
  await turn();
  expect(sent()).toContain("control 7");
  // There is room again.
  sender.control(8, payload);
  await turn();
  expect(sent()).toContain("control 8");
});

test("what was forgotten is not sent, and nothing after the stop", async () => {
  const data = source(1, 1);
  const credit = creditSource(1);
  sender.data(data);
  sender.credit(credit);
  sender.forget(data);
  sender.forget(credit);
  await turn();
  expect(sent()).toEqual([]);
  sender.control(1, Buffer.from("a0", "hex"));
  sender.stop();
  sender.data(data);
  await turn();
  expect(sent()).toEqual([]);
});
