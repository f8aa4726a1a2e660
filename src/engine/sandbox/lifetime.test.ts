import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Expiry, Lifetime, type LifetimeLimits } from "./lifetime.ts";

const START = "2026-01-01T00:00:00.000Z";

describe("a lifetime", () => {
  let expired: Expiry[];
  let idle: string[];
  beforeEach(() => {
    expired = [];
    idle = [];
    vi.useFakeTimers({ now: Date.parse(START) });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
  const of = (limits: Partial<LifetimeLimits>) =>
    new Lifetime(
      { onIdle: "stop", ...limits },
      (expiry) => expired.push(expiry),
      (since) => idle.push(since),
    );

  test("without limits never ends, and tells nothing", () => {
    const lifetime = of({});
    lifetime.start(START);
    lifetime.begin()();
    vi.advanceTimersByTime(1e10);
    expect([expired, idle, vi.getTimerCount()]).toEqual([[], [], 0]);
  });

  test("ends at its longest, whatever goes on", () => {
    const lifetime = of({ maxDurationMs: 10_000, idleTimeoutMs: 60_000 });
    lifetime.start(START);
    lifetime.begin();
    vi.advanceTimersByTime(9_999);
    expect(expired).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(expired).toMatchObject([
      { limit: "max-duration", reason: "it has run for its longest time, 10 s" },
    ]);
    vi.advanceTimersByTime(1e6);
    expect(expired).toHaveLength(1);
  });

  test("is not idle while one of several things goes on", () => {
    const lifetime = of({ idleTimeoutMs: 1_000 });
    lifetime.start(START);
    const [first, second] = [lifetime.begin(), lifetime.begin()];
    vi.advanceTimersByTime(5_000);
    first();
    first();
    vi.advanceTimersByTime(5_000);
    expect(expired).toEqual([]);
    second();
    expect(idle).toEqual(["2026-01-01T00:00:10.000Z"]);
    vi.advanceTimersByTime(999);
    expect(expired).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(expired).toMatchObject([{ limit: "idle-timeout", reason: "it was idle for 1 s" }]);
  });

  test("goes on where an earlier daemon left it", () => {
    const lifetime = of({ idleTimeoutMs: 10_000 });
    vi.setSystemTime(Date.parse(START) + 8_000);
    lifetime.start(START, START);
    vi.advanceTimersByTime(1_999);
    expect(expired).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(expired).toHaveLength(1);
    // What was to end while no daemon ran, ends at once.
    const late = of({ maxDurationMs: 1 });
    late.start(START);
    vi.advanceTimersByTime(0);
    expect(expired).toHaveLength(2);
  });

  test("may be longer than a timer can be", () => {
    const days = 60 * 86_400_000;
    const lifetime = of({ maxDurationMs: days });
    lifetime.start(START);
    vi.advanceTimersByTime(days - 1);
    expect(expired).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(expired).toHaveLength(1);
  });

  test("that has ended is quiet", () => {
    const lifetime = of({ maxDurationMs: 1_000, idleTimeoutMs: 1_000 });
    lifetime.start(START);
    lifetime.end();
    lifetime.begin()();
    vi.advanceTimersByTime(5_000);
    expect([expired, idle]).toEqual([[], []]);
  });

  test("of one that is paused when it is idle goes on with its longest time, and is idle anew when it goes on", () => {
    const lifetime = of({ maxDurationMs: 100_000, idleTimeoutMs: 10_000, onIdle: "pause" });
    lifetime.start(START);
    vi.advanceTimersByTime(10_000);
    expect(expired.splice(0)).toMatchObject([{ limit: "idle-timeout" }]);
    vi.advanceTimersByTime(50_000);
    expect(expired).toEqual([]);
    lifetime.goOn();
    vi.advanceTimersByTime(9_999);
    expect(expired).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(expired.splice(0)).toMatchObject([{ limit: "idle-timeout" }]);
    vi.advanceTimersByTime(30_000);
    expect(expired).toMatchObject([{ limit: "max-duration" }]);
  });
});
