import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { Fields } from "./fields.ts";
import { encodeRestore, freezeGuest, readHooks, readRestored, restoreGuest, thawGuest } from "./states.ts";
import { Session, setup } from "./testing/session.ts";

const session = new Session();
beforeEach(() => session.reset());
afterEach(() => session.close());

const acknowledged = { reseeded: true, time_ns: 1_767_225_600_000_000_000n, timings: { names: 40 } };
const restore = { identity: setup.identity, generation: 3 };

describe("a guest that stands still", () => {
  test("is told how long its processes may take, and whether hooks run", async () => {
    const told: unknown[] = [];
    const answer = (key: string, reply: object) => (message: Map<string, unknown>) => {
      told.push(message.get(key));
      return reply;
    };
    session.port.guest.answers = {
      freeze: answer("timeout_ms", {}),
      thaw: answer("hooks", { hooks: [{ name: "10-ssh", code: 0 }] }),
    };
    const agent = await session.open();
    await freezeGuest(agent);
    await freezeGuest(agent, { freezeMs: 50 });
    expect(await thawGuest(agent, { hooks: true })).toEqual([{ name: "10-ssh", code: 0 }]);
    expect(told).toEqual([2_000, 50, true]);
  });

  test("becomes another one, and says so", async () => {
    session.port.guest.answers.restore = () => acknowledged;
    expect(await restoreGuest(await session.open(), restore)).toEqual({
      reseeded: true,
      timeNs: 1_767_225_600_000_000_000n,
      timings: { names: 40 },
    });
  });

  test.each([
    ["nothing", {}],
    ["no word of the generator", { ...acknowledged, reseeded: undefined }],
    ["a generator that is the old one", { ...acknowledged, reseeded: false }],
  ])("is of no use when it acknowledges with %s", async (_, answer) => {
    session.port.guest.answers.restore = () => answer;
    await expect(restoreGuest(await session.open(), restore)).rejects.toMatchObject({ code: "internal" });
  });

  test("tells the next host", async () => {
    expect((await session.open()).info.frozen).toBe(false);
    session.port.guest.frozen = true;
    expect((await session.open({ filler: true })).info.frozen).toBe(true);
  });
});

test("a restore says who the VM is", () => {
  const mac = Uint8Array.of(2, 0, 0, 0, 0, 7);
  const network = { mtu: 1500, addresses: [], gateways: [], neighbours: [], dns: [] };
  const message = (more: object) =>
    decodeCbor(encodeRestore(9, { ...restore, ...more })) as Map<string, Map<string, unknown> | undefined>;
  const all = message({ keepConnections: true, network: { ...network, mac } });
  expect(all.get("generation")).toBe(3);
  expect(all.get("identity")!.get("hostname")).toBe("box");
  expect(all.get("network")!.get("mac")).toEqual(mac);
  expect(all.get("keep_connections")).toBe(true);
  expect([...message({}).keys()].toSorted()).toEqual(["generation", "id", "identity", "op"]);
  expect(message({ network }).get("network")!.has("mac")).toBe(false);
});

test.each([-1, 1.5, Number.NaN, 2 ** 60])("%d is no generation", (generation) => {
  expect(() => encodeRestore(1, { ...restore, generation })).toThrow("generation");
});

test("entropy that is too little is not sent", () => {
  const identity = { ...setup.identity, entropy: Buffer.alloc(31) };
  expect(() => encodeRestore(1, { ...restore, identity })).toThrow("entropy");
});

const hooksOf = (hooks: unknown) =>
  readHooks(Fields.ofMessage(encodeCbor({ hooks } as Record<string, unknown>), "a reply"));

test("hooks end with a code, by a signal or too late; their names are made fit for a terminal", () => {
  expect(
    hooksOf([
      { name: "a", code: 3 },
      { name: "b\u001b[2J", signal: 9 },
      { name: "c", timeout: true },
    ]),
  ).toEqual([
    { name: "a", code: 3 },
    { name: "b\uFFFD[2J", signal: 9 },
    { name: "c", timeout: true },
  ]);
});

test.each([
  [Array(65).fill({ name: "x", code: 0 })],
  [[{ name: "x" }]],
  [[{ code: 0 }]],
  [[{ name: "x", code: 256 }]],
  [[{ name: "x", signal: 65 }]],
  [[{ name: "x", timeout: false }]],
  [{}],
])("%j is a violation", (hooks) => {
  expect(() => hooksOf(hooks)).toThrow();
});

const anything = fc.oneof(
  fc.string(),
  fc.integer({ min: -3, max: 300 }),
  fc.boolean(),
  fc.constant(null),
  fc.uint8Array({ maxLength: 8 }),
);
const hostileHook = fc.dictionary(fc.constantFrom("name", "code", "signal", "timeout"), anything);

test("whatever a guest says of its hooks: bounded results, or a violation", () => {
  const hostile = fc.oneof(anything, fc.array(fc.oneof(hostileHook, anything), { maxLength: 70 }));
  fc.assert(
    fc.property(hostile, (hooks) => {
      const read = attempt(() => hooksOf(hooks));
      for (const hook of read ?? []) {
        expect(hook.name.length).toBeLessThanOrEqual(256);
        if ("code" in hook) expect(hook.code).toBeLessThanOrEqual(255);
        else if ("signal" in hook) expect(hook.signal).toBeLessThanOrEqual(64);
        else expect(hook.timeout).toBe(true);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("whatever a guest answers to a restore: acknowledged, or a violation", () => {
  const answer = fc.dictionary(
    fc.constantFrom("reseeded", "time_ns", "timings"),
    fc.oneof(anything, fc.dictionary(fc.string(), anything, { maxKeys: 3 })),
  );
  fc.assert(
    fc.property(answer, (fields) => {
      const result = attempt(() => readRestored(Fields.ofMessage(encodeCbor(fields) as Buffer, "a reply")));
      if (result !== undefined) expect(fields.reseeded).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});

/** What it gives; undefined if it throws a violation. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    expect(error).toMatchObject({ code: "internal" });
    return undefined;
  }
}
