import { getEventListeners } from "node:events";
import { expect, test, vi } from "vitest";
import { withDeadline } from "./deadline.ts";

const never = new Promise<never>(() => {});

test("a signal that had fired before ends the wait at once", async () => {
  const giveUp = vi.fn();
  const wait = { timeoutMs: 60_000, signal: AbortSignal.abort() };
  await expect(withDeadline(never, wait, () => "the moon", giveUp)).rejects.toMatchObject({
    code: "cancelled",
    message: "cancelled while waiting for the moon",
  });
  expect(giveUp).toHaveBeenCalledOnce();
});

test("a wait that is over leaves nothing behind", async () => {
  vi.useFakeTimers();
  try {
    const { signal } = new AbortController();
    const wait = { timeoutMs: 60_000, signal };
    expect(await withDeadline(Promise.resolve(1), wait, () => "", vi.fn())).toBe(1);
    await expect(withDeadline(Promise.reject(new Error("no")), wait, () => "", vi.fn())).rejects.toThrow(
      "no",
    );
    expect(getEventListeners(signal, "abort")).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});
