import { expect, test } from "vitest";
import type { FlowOwner } from "../guest/index.ts";
import type { BegunFlow, FlowRecord } from "../network/index.ts";
import { FlowOwners } from "./flow-owners.ts";

const flowOf = (number: number): BegunFlow => ({
  number,
  protocol: "tcp",
  localPort: 40_000,
  address: "8.8.8.8",
  port: 443,
});

const recordOf = (flow?: number): FlowRecord => ({
  kind: "connection",
  time: "2026-01-01T00:00:00.000Z",
  allowed: true,
  rule: "scope public",
  reason: "",
  direction: "egress",
  protocol: "tcp",
  address: "8.8.8.8",
  port: 443,
  bytesOut: 0,
  bytesIn: 0,
  durationMs: 1,
  ...(flow === undefined ? {} : { flow }),
});

const CURL: FlowOwner = { pid: 212, command: "curl" };

test("a record has the process that the guest said, and not the flow's number", async () => {
  const owners = new FlowOwners(async () => [CURL, undefined]);
  owners.begun([flowOf(7), flowOf(8)]);
  const { flow: _, ...plain } = recordOf(7);
  expect(await owners.name([recordOf(7), recordOf(8), recordOf(9), recordOf()])).toEqual([
    { ...plain, process: CURL },
    plain,
    plain,
    plain,
  ]);
  // One answer is for one record.
  expect(await owners.name([recordOf(7)])).toEqual([plain]);
});

test("a guest that fails, or answers late, holds nothing up", async () => {
  const failing = new FlowOwners(() => Promise.reject(new Error("no agent")));
  failing.begun([flowOf(1)]);
  expect((await failing.name([recordOf(1)]))[0]).not.toHaveProperty("process");
  const silent = new FlowOwners(() => new Promise(() => {}));
  silent.begun([flowOf(1)]);
  expect((await silent.name([recordOf(1)]))[0]).not.toHaveProperty("process");
});

test("no more answers are kept than a guest may have connections open", async () => {
  const owners = new FlowOwners(async (flows) => flows.map(() => CURL));
  for (let number = 0; number < 5000; number++) owners.begun([flowOf(number)]);
  const [oldest, newest] = await owners.name([recordOf(0), recordOf(4999)]);
  expect(oldest).not.toHaveProperty("process");
  expect(newest).toMatchObject({ process: CURL });
});
