import { expect, test } from "vitest";
import type { SandboxState } from "../../contract/index.ts";
import type { AgentConnection } from "../guest/index.ts";
import type { Machine } from "../machine/index.ts";
import { Standstill, type StandstillHost } from "./standstill.ts";
import type { Vigil } from "./vigil.ts";

/** A sandbox that takes down what is done with it. */
function sandboxIn(state: SandboxState, over: Partial<StandstillHost> = {}) {
  const done: string[] = [];
  const act = (what: string) => async () => void done.push(what);
  const agent = {
    ping: async ({ setTimeNs }: { setTimeNs?: bigint }) => {
      const late = Date.now() - Number(setTimeNs! / 1_000_000n);
      done.push(late >= 0 && late < 60_000 ? "clock" : `clock ${late}`);
    },
  } as unknown as AgentConnection;
  const vigil = { idle: true, rest: () => {}, goOn: () => {} };
  const standstill = new Standstill({
    name: "box",
    vigil: vigil as unknown as Vigil,
    state: () => state,
    machine: () => ({ pause: act("stop"), resume: act("go on") }) as unknown as Machine,
    agent: () => agent,
    reach: async () => {
      done.push("reach");
      return agent;
    },
    transition: (next) => {
      state = next;
      done.push(next);
    },
    suspend: async () => {
      state = "suspended";
    },
    wake: async () => {
      state = "running";
    },
    woken: (by) => done.push(`woken: ${by}`),
    ...over,
  });
  return { standstill, done, vigil, state: () => state, end: () => (state = "failed") };
}

test("a pause is written down before it is done, a resume after its clock is right", async () => {
  const { standstill, done } = sandboxIn("running");
  await standstill.pause("asked");
  await standstill.resume();
  expect(done).toEqual(["paused", "stop", "go on", "clock", "running"]);
});

test("who uses it at once wakes it once, and one that runs is not woken", async () => {
  const { standstill, done } = sandboxIn("running");
  await standstill.awake("nobody");
  expect(done).toEqual([]);
  const pausing = standstill.pause();
  await Promise.all([pausing, standstill.awake("first"), standstill.awake("second")]);
  expect(done).toEqual(["paused", "stop", "go on", "clock", "running", "woken: first"]);
});

test("one that is used before its idleness is acted on goes on", async () => {
  const { standstill, done, vigil } = sandboxIn("running");
  vigil.idle = false;
  await standstill.rest("pause", "idle");
  expect(done).toEqual([]);
  vigil.idle = true;
  await standstill.rest("pause", "idle");
  expect(done).toEqual(["paused", "stop"]);
});

test("a VM that does not stand still runs on", async () => {
  const failing = { pause: () => Promise.reject(new Error("no answer")) } as unknown as Machine;
  const { standstill, done, state } = sandboxIn("running", { machine: () => failing });
  await expect(standstill.pause()).rejects.toThrow("no answer");
  expect([state(), done]).toEqual(["running", ["paused", "running"]]);
  // The next one has its turn.
  await expect(standstill.resume()).rejects.toMatchObject({ code: "invalid_state" });
});

test("one that ends meanwhile does not run", async () => {
  const { standstill, end, state } = sandboxIn("paused", {
    agent: () => undefined,
    reach: async () => {
      end();
      return { ping: () => Promise.reject(new Error("gone")) } as unknown as AgentConnection;
    },
  });
  await expect(standstill.awake("somebody")).rejects.toMatchObject({
    code: "invalid_state",
    message: expect.stringContaining("'box' is failed"),
  });
  expect(state()).toBe("failed");
});

test("a guest that hears nothing of the time runs all the same, and its agent is found where there was none", async () => {
  const deaf = { ping: () => Promise.reject(new Error("timeout")) } as unknown as AgentConnection;
  const { standstill, state } = sandboxIn("paused", { agent: () => undefined, reach: async () => deaf });
  await standstill.resume();
  expect(state()).toBe("running");
});

test("what takes its state keeps others from it only until it goes on, and what takes it next until it is stored", async () => {
  const { standstill, done } = sandboxIn("running");
  const [still, stored] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const first = standstill.running(async (goesOn) => {
    await still.promise;
    goesOn();
    await stored.promise;
    done.push("stored");
    return "a state";
  });
  await new Promise((resolve) => setImmediate(resolve));
  const used = standstill.awake("a command is run").then(() => done.push("used"));
  const second = standstill.running(async () => done.push("second"));
  const suspended = standstill.suspend().then(() => done.push("suspended"));
  await new Promise((resolve) => setImmediate(resolve));
  expect(done).toEqual([]);
  still.resolve();
  await used;
  await new Promise((resolve) => setImmediate(resolve));
  expect(done).toEqual(["used"]);
  stored.resolve();
  expect(await first).toBe("a state");
  await Promise.all([second, suspended]);
  expect(done).toEqual(["used", "stored", "second", "suspended"]);
});

test("one that stood still does so again when its state is stored, and what failed is told", async () => {
  const { standstill, done, state } = sandboxIn("paused");
  await standstill.running(async (goesOn) => {
    goesOn();
    await new Promise((resolve) => setImmediate(resolve));
    done.push(`stored while ${state()}`);
  });
  expect(done.slice(-3)).toEqual(["stored while running", "paused", "stop"]);
  await expect(standstill.running(() => Promise.reject(new Error("the disk is full")))).rejects.toThrow(
    "full",
  );
  expect(state()).toBe("paused");
});
