import { expect, test } from "vitest";
import { networkChanges, networkSpec } from "../../contract/index.ts";
import { changedNetwork } from "./network-changes.ts";

const spec = networkSpec.parse({
  rules: ["deny egress 8.8.8.8"],
  ports: [{ host: 80, guest: 80 }],
  limits: { connections: 7, egressBytesPerSecond: 5000 },
});

test("what is not given stays", () => {
  expect(changedNetwork(spec, {}, "box")).toEqual(spec);
  expect(changedNetwork(spec, { rules: [], scope: "any" }, "box")).toEqual({
    ...spec,
    rules: [],
    scope: "any",
  });
});

test("limits change one by one, and null lifts one", () => {
  const limits = { egressBytesPerSecond: null, ingressBytesPerSecond: 2048, connections: undefined };
  expect(changedNetwork(spec, { limits }, "box").limits).toEqual({
    connections: 7,
    ingressBytesPerSecond: 2048,
    queriesPerSecond: 200,
  });
});

test("a network is neither given nor taken away", () => {
  expect(() => changedNetwork({ ...spec, scope: "none" }, { scope: "any" }, "box")).toThrow(
    "sandbox 'box' was made without a network",
  );
  expect(() => changedNetwork(spec, { scope: "none" }, "box")).toThrow("cannot lose its network");
});

test("ports are refused with the reason, and what nobody knows by its name", () => {
  const said = (changes: unknown) => networkChanges.safeParse(changes).error?.issues[0]?.message;
  expect(said({ ports: [] })).toBe(
    "published ports are chosen when a sandbox is created and stay for its life",
  );
  expect(said({ mtu: 5 })).toContain("mtu");
  expect(said({ limits: { connections: 0 } })).toContain(">=1");
});
