import { expect, test } from "vitest";
import type { AgentConnection } from "../guest/index.ts";
import { setClock } from "./guest-clock.ts";

/** A guest that comes to set its clock so many milliseconds late, each time. */
function guest(...lateMs: (number | Error)[]) {
  let pings = 0;
  const ping = async ({ setTimeNs = 0n }: { setTimeNs?: bigint }) => {
    const late = lateMs[Math.min(pings++, lateMs.length - 1)]!;
    if (late instanceof Error) throw late;
    return { timeNs: setTimeNs - BigInt(late) * 1_000_000n };
  };
  const agent = { ping } as unknown as Pick<AgentConnection, "ping">;
  return { agent, pings: () => pings };
}

const now = () => BigInt(Date.now()) * 1_000_000n;

test("a clock that was set in time is left", async () => {
  const { agent, pings } = guest(0);
  await setClock(agent, now());
  expect(pings()).toBe(0);
});

test("one that was set late is set again, until it is right", async () => {
  const { agent, pings } = guest(300, 120, 0);
  await setClock(agent, now() - 500_000_000n);
  expect(pings()).toBe(3);
});

test("one that nothing is known of is set once, if that goes well", async () => {
  const { agent, pings } = guest(0);
  await setClock(agent);
  expect(pings()).toBe(1);
});

test("a machine that is always late, or a guest that does not answer, holds nobody up", async () => {
  const slow = guest(400);
  await setClock(slow.agent);
  expect(slow.pings()).toBe(8);
  const mute = guest(new Error("no answer"));
  await setClock(mute.agent);
  expect(mute.pings()).toBe(1);
});
