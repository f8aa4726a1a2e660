import { expect, test } from "vitest";
import { decodeCbor } from "./cbor.ts";
import {
  encodePrepare,
  encodeResize,
  encodeSetup,
  encodeShutdown,
  encodeStart,
  type ProcessSpec,
  RLIMIT_INFINITY,
} from "./commands.ts";

test("a start has the defaults of the protocol and nothing that was not asked for", () => {
  expect(decodeCbor(encodeStart({ argv: ["true"] }))).toEqual(
    new Map<string, unknown>([
      ["op", "start"],
      ["argv", ["true"]],
      ["env", []],
      ["cwd", ""],
      ["user", ""],
      ["stdin", false],
    ]),
  );
});

test("a start carries all that was asked for", () => {
  const message = decodeCbor(
    encodeStart({
      argv: ["sh", "-c", "ü"],
      env: { A: "b=c", EMPTY: "" },
      cwd: "/work",
      user: "1000:100",
      stdin: true,
      rlimits: { nofile: { soft: 1_024, hard: RLIMIT_INFINITY } },
      createCwd: true,
    }),
  ) as Map<string, unknown>;
  expect(message.get("env")).toEqual(["A=b=c", "EMPTY="]);
  expect(message.get("rlimits")).toEqual([
    new Map<string, unknown>([
      ["name", "nofile"],
      ["soft", 1_024],
      ["hard", 2n ** 64n - 1n],
    ]),
  ]);
  expect(message.get("create_cwd")).toBe(true);
  expect(message.get("stdin")).toBe(true);
});

const wrong: Record<string, [ProcessSpec, string]> = {
  "without a command": [{ argv: [] }, "a command has at least a name"],
  "with a relative working directory": [{ argv: ["x"], cwd: "tmp" }, "not absolute: tmp"],
  "with a variable without a name": [{ argv: ["x"], env: { "": "a" } }, "no name for a variable"],
  "with an = in a variable's name": [{ argv: ["x"], env: { "A=B": "a" } }, "no name for a variable"],
  "with a lone surrogate": [{ argv: ["\ud800"] }, "a lone surrogate"],
  "with a negative rlimit": [
    { argv: ["x"], rlimits: { as: { soft: -1, hard: 1 } } },
    "rlimit as is no unsigned",
  ],
  "with a broken rlimit": [
    { argv: ["x"], rlimits: { as: { soft: 1.5, hard: 2 } } },
    "rlimit as is no unsigned",
  ],
  "with an rlimit of 2^64": [{ argv: ["x"], rlimits: { as: { soft: 0, hard: 2n ** 64n } } }, "rlimit as"],
  "that is larger than a frame": [{ argv: ["x", "y".repeat(262_144)] }, "262144 can be sent"],
  "with more entries than a message may have": [{ argv: Array(65_536).fill("x") }, "too many"],
};

test.each(Object.entries(wrong))("a start %s is refused before it is sent", (_, [spec, what]) => {
  expect(() => encodeStart(spec)).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  expect(() => encodeStart(spec)).toThrow(what);
});

test("numbers that are no unsigned integers are refused everywhere", () => {
  const invalid = expect.objectContaining({ code: "invalid_argument" });
  expect(() => encodeShutdown(1, -1)).toThrow(invalid);
  expect(() => encodeShutdown(1, 0.5)).toThrow(invalid);
  expect(() => encodeResize(Number.NaN, 1)).toThrow(invalid);
  const identity = { entropy: Buffer.alloc(32), timeNs: 0n, hostname: "h", machineId: "0".repeat(32) };
  expect(() => encodeSetup(1, { identity, upper: "fresh", upperSizeBytes: 1.5 })).toThrow(invalid);
  expect(() =>
    encodeSetup(1, { identity: { ...identity, timeNs: -1n }, upper: "fresh", upperSizeBytes: 0 }),
  ).toThrow(invalid);
  expect(() =>
    encodeSetup(1, { identity: { ...identity, machineId: "xyz" }, upper: "fresh", upperSizeBytes: 0 }),
  ).toThrow(invalid);
});

test("a network's addresses are bytes, and without a network there is no word of it", () => {
  expect(decodeCbor(encodePrepare(1, undefined))).toEqual(
    new Map<string, unknown>([
      ["op", "prepare"],
      ["id", 1],
    ]),
  );
  const network = {
    mtu: 9000,
    addresses: [{ address: Uint8Array.of(10, 0, 0, 2), prefix: 24 }],
    gateways: [],
    neighbours: [],
    dns: [Uint8Array.of(10, 0, 0, 1)],
  };
  const message = decodeCbor(encodePrepare(1, network)) as Map<string, Map<string, unknown>>;
  expect(message.get("network")!.get("addresses")).toEqual([
    new Map<string, unknown>([
      ["address", Uint8Array.of(10, 0, 0, 2)],
      ["prefix", 24],
    ]),
  ]);
  expect(message.get("network")!.get("dns")).toEqual([Uint8Array.of(10, 0, 0, 1)]);
});
