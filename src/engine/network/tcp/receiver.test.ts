import { expect, test } from "vitest";
import { Budget } from "./limits.ts";
import { Receiver } from "./receiver.ts";

const NEXT = 0xfffffff0;
const SEGMENT = 15_760;

function full(): Receiver {
  const receiver = new Receiver(NEXT, new Budget(64 * 1024 * 1024), SEGMENT);
  const window = receiver.tell();
  expect(receiver.take(NEXT, new Uint8Array(window), false)).toBe("new");
  expect(receiver.tell()).toBe(0);
  return receiver;
}

test("a window that was shut opens in large steps, and is then worth telling", () => {
  const receiver = full();
  receiver.queue.discard(1000);
  expect(receiver.worthTelling).toBe(false);
  expect(receiver.tell()).toBe(0);
  receiver.queue.discard(30_000);
  expect(receiver.worthTelling).toBe(true);
  expect(receiver.tell()).toBe(31_000);
  expect(receiver.worthTelling).toBe(false);
});

test("a window that grew is told when there is no more room for two segments, not before", () => {
  const receiver = new Receiver(NEXT, new Budget(64 * 1024 * 1024), SEGMENT);
  const first = receiver.tell();
  receiver.scale = 4;
  expect(receiver.worthTelling).toBe(false);
  expect(receiver.take(NEXT, new Uint8Array(first - 2 * SEGMENT), false)).toBe("new");
  expect(receiver.worthTelling).toBe(true);
  expect(receiver.tell() << 4).toBeGreaterThan(256 * 1024);
  expect(receiver.worthTelling).toBe(false);
});

test("a byte beyond the window is not taken", () => {
  const receiver = full();
  expect(receiver.take(receiver.next, Uint8Array.of(1), true)).toBe("full");
  expect(receiver.accepts(receiver.next, 1)).toBe(true);
  expect(receiver.accepts((receiver.next + 1) >>> 0, 1)).toBe(false);
});

test("a FIN counts when all before it has come, and bytes behind it never", () => {
  const receiver = new Receiver(NEXT, new Budget(64 * 1024 * 1024), SEGMENT);
  receiver.tell();
  const at = (offset: number) => (NEXT + offset) >>> 0;
  expect(receiver.take(at(10), Uint8Array.of(10), true)).toBe("gap");
  expect(receiver.finished).toBe(false);
  expect(receiver.take(at(0), new Uint8Array(10), false)).toBe("filled");
  expect(receiver.next).toBe(at(11));
  expect(receiver.take(at(10), Uint8Array.of(10), true)).toBe("fin");
  expect(receiver.next).toBe(at(12));
  expect(receiver.take(at(12), Uint8Array.of(1), false)).toBe("old");
  expect(receiver.queue.length).toBe(11);
});
