import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ip } from "../testing/policy-of.ts";
import { FlowAnnouncer } from "./flow-announcer.ts";
import type { BegunFlow } from "./messages.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const flow = {
  source: ip("10.209.0.2"),
  sourcePort: 40_000,
  destination: ip("8.8.8.8"),
  destinationPort: 443,
};

test("the first are told of at once, the next half a second later, 64 at a time", () => {
  const groups: BegunFlow[][] = [];
  const announcer = new FlowAnnouncer((flows) => groups.push(flows));
  const first = announcer.begun(flow, "tcp")!;
  announcer.begun(flow, "udp");
  vi.advanceTimersByTime(1);
  expect(groups.map(({ length }) => length)).toEqual([2]);
  const numbers = Array.from({ length: 100 }, () => announcer.begun(flow, "tcp"));
  expect(numbers.filter((number) => number !== undefined)).toHaveLength(64);
  vi.advanceTimersByTime(498);
  expect(groups).toHaveLength(1);
  vi.advanceTimersByTime(2);
  expect(groups.map(({ length }) => length)).toEqual([2, 64]);
  expect(groups.flat().map(({ number }) => number - first)).toEqual([...Array(66).keys()]);
  // After a while without any, the next is told of at once again.
  vi.advanceTimersByTime(1000);
  announcer.begun(flow, "tcp");
  vi.advanceTimersByTime(1);
  expect(groups).toHaveLength(3);
  announcer.begun(flow, "tcp");
  announcer[Symbol.dispose]();
  expect(vi.getTimerCount()).toBe(0);
});
