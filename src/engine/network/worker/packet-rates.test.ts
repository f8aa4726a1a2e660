import { expect, test, vi } from "vitest";
import { PacketRates } from "./packet-rates.ts";

/** A rate whose clock is set by hand. */
function rates(limits: ConstructorParameters<typeof PacketRates>[0]) {
  let now = 0;
  const resumed = vi.fn();
  const of = new PacketRates(limits, resumed, () => now);
  const taken = (of10: () => boolean) => Array.from({ length: 10 }, of10).filter(Boolean).length;
  return { of, resumed, taken, pass: (ms: number) => (now += ms) };
}

test("without limits everything goes", () => {
  const { of, taken } = rates({});
  expect([taken(() => of.egress()), taken(() => of.ingress()), of.full]).toEqual([10, 10, false]);
});

test("each direction has its own, a tenth of a second's worth at once", () => {
  const { of, taken, pass } = rates({ egressPacketsPerSecond: 40, ingressPacketsPerSecond: 70 });
  expect([taken(() => of.egress()), taken(() => of.ingress())]).toEqual([4, 7]);
  pass(50);
  expect([taken(() => of.egress()), taken(() => of.ingress())]).toEqual([2, 4]);
  pass(60_000);
  expect(taken(() => of.egress())).toBe(4);
  of[Symbol.dispose]();
});

test("who is told to wait is told to go on, also when the limit is lifted", async () => {
  const { of, resumed, taken, pass } = rates({ ingressPacketsPerSecond: 100 });
  expect([taken(() => of.ingress()), of.full, of.full]).toEqual([10, true, true]);
  pass(1000);
  await vi.waitFor(() => expect(resumed).toHaveBeenCalledTimes(1));
  expect(of.full).toBe(false);
  expect([taken(() => of.ingress()), of.full]).toEqual([10, true]);
  of.limit({});
  expect([resumed.mock.calls.length, of.full, taken(() => of.ingress())]).toEqual([2, false, 10]);
});
