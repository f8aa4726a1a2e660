import { createReadStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CreateOptions, Daemon, type Sandbox } from "../src/sdk/index.ts";
import { ADDRESSES } from "./attack/addresses.ts";
import type { Attack } from "./attack/attack.ts";
import { DAMAGED, PIECES } from "./attack/broken-packets.ts";
import { LIES, SPOOFED } from "./attack/false-identities.ts";
import { HOSTS, NEIGHBOUR_PORT, NEIGHBOURS } from "./attack/hosts.ts";
import { NAMES_OF_STRANGERS, NAMES_WITHOUT_A_RULE, ZONE } from "./attack/names.ts";
import { PROTOCOLS, ROUTES } from "./attack/odd-packets.ts";
import { WEB_ATTACKS } from "./attack/web.ts";
import { type Arrival, isLeak, MARK, NAMES, World } from "./attack/world.ts";
import { buildGoProgram, type GoProgram } from "./go-program.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/**
 * Ways out of a sandbox, tried from inside of it as root, with raw sockets. What counts is what arrives: at the addresses of an internet in
 * which every address exists, on the host's loopback, and at the sandbox next door. From a sandbox that may do everything the
 * same is seen to arrive, so that silence means something.
 */

/** Rules that let the controls out. Attacks on names are from a sandbox that has rules for names alone. */
const NAMED_RULES = [
  `allow egress domain:${MARK.name} udp:${MARK.port}`,
  "allow egress domain:allowed.example tcp:80,443",
  "allow egress domain:*.wild.example tcp:80,443",
];
const FRAMES = [...SPOOFED, ...LIES, ...ROUTES, ...PROTOCOLS, ...PIECES, ...DAMAGED];
const ALL: Attack[] = [
  ...ADDRESSES,
  ...HOSTS,
  ...NEIGHBOURS,
  ...FRAMES,
  ...NAMES_OF_STRANGERS,
  ...NAMES_WITHOUT_A_RULE,
  ...WEB_ATTACKS,
];
const OPEN_RULES = [
  "allow egress host",
  "allow egress metadata",
  ...new Set(ALL.flatMap(({ opens }) => opens ?? [])),
];
const possible = process.platform === "linux" && process.getuid?.() === 0;

let world: World;
let driver: SandboxDriver;
let probe: GoProgram;
/** The attackers, by what they may do; and the one next door. */
let strict: Sandbox;
let named: Sandbox;
let open: Sandbox;
let neighbour: Sandbox;

beforeAll(async () => {
  if (!possible) return;
  world = await World.open(ZONE);
  probe = await buildGoProgram("attack-probe");
  driver = await SandboxDriver.open("attack", { image: false });
  await writeFile(join(driver.home, "network.json"), JSON.stringify({ resolvers: [NAMES] }));
  const { connection } = driver;
  const isUp = async () => (await Daemon.status({ connection })) !== undefined;
  await world.hosts.startDaemon(driver.home, isUp);
  await driver.importBase();
  const ports = [{ bind: "0.0.0.0", host: NEIGHBOUR_PORT, guest: 7000 }];
  strict = await attacker({ scope: "public" });
  named = await attacker({ scope: "group", rules: NAMED_RULES });
  open = await attacker({ scope: "any", rules: OPEN_RULES });
  neighbour = await driver.create({ network: { scope: "public", ports } });
  // Where the allowed names are is known from here on.
  await named.exec("nslookup", [MARK.name]);
  await attack(named, ["tcp", "allowed.example:80", "GET / HTTP/1.1\r\nHost: allowed.example\r\n\r\n"]);
}, 300_000);

afterAll(async () => {
  await driver?.[Symbol.asyncDispose]();
  await probe?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

async function attacker(network: CreateOptions["network"]): Promise<Sandbox> {
  const sandbox = await driver.create({ network });
  await sandbox.files.write("/attack-probe", createReadStream(probe.path), { mode: 0o755 });
  return sandbox;
}

/** What arrived of what was tried. */
async function attack(from: Sandbox, run: string[]): Promise<{ arrivals: Arrival[]; said: string }> {
  await world.arrivals();
  const { stdout, stderr, exitCode } = await from.exec("/attack-probe", [
    `${MARK.address}:${MARK.port}`,
    ...run,
  ]);
  // The way out is still there: otherwise nothing could have arrived.
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  const arrivals = await world.arrivals();
  expect(arrivals).toContainEqual(expect.objectContaining({ destination: MARK.address, port: MARK.port }));
  return { arrivals, said: stdout };
}

function suite(attacks: Attack[], from: () => Sandbox, neighbours: () => Sandbox[] = () => []): void {
  test.each(attacks)("does not get out: $name", async ({ run }) => {
    const heard = () =>
      Promise.all(neighbours().map(async ({ network }) => (await network.statistics()).bytesIn));
    const before = await heard();
    const { arrivals, said } = await attack(from(), run);
    expect(arrivals.filter(isLeak), said).toEqual([]);
    expect(await heard()).toEqual(before);
  });

  // One for all that have it in common.
  const controls = new Map<string, { name: string; control: string[]; goal?: string | undefined }>();
  for (const { name, run, control = run, goal } of attacks)
    if (control !== "none") controls.set(JSON.stringify([control, goal]), { name, control, goal });
  test.each([...controls.values()])("would be seen: $name", async ({ control, goal }) => {
    const { arrivals, said } = await attack(open, control);
    const seen = arrivals.filter(isLeak).map(({ destination }) => destination);
    expect(seen, said).toContain(goal ?? seen[0] ?? "anything");
  });
}

describe.skipIf(!possible)("from a sandbox of the scope public (needs root)", () => {
  describe("addresses", () => suite(ADDRESSES, () => strict));
  describe("the host and the gateway", () => suite(HOSTS, () => strict));
  describe("frames", () => suite(FRAMES, () => strict));
  describe("names", () => suite(NAMES_OF_STRANGERS, () => strict));

  describe("the sandbox next door", () =>
    suite(
      NEIGHBOURS,
      () => strict,
      () => [neighbour],
    ));
});

describe.skipIf(!possible)("from a sandbox that may speak to some names (needs root)", () => {
  describe("names", () => suite(NAMES_WITHOUT_A_RULE, () => named));
  describe("the web", () => suite(WEB_ATTACKS, () => named));
});
