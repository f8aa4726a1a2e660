import { afterAll, beforeAll, expect, test } from "vitest";
import { IpAddress } from "../src/contract/ip-address.ts";
import { freezeGuest, restoreGuest, thawGuest } from "../src/engine/guest/index.ts";
import { guestNetworkOf, STORED_LINK } from "../src/engine/sandbox/network.ts";
import { AgentHost, another } from "./agent-host.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** What a VM that becomes another one keeps of its network: nothing that leads out, all that stays within. */
let driver: SandboxDriver;
let host: AgentHost;

/** Each end waits for what the other has to say, and says how that went. */
const WAITS = [
  "cd /tmp; mkfifo quiet",
  'wait_on() { name=$1; shift; (nc "$@" <>quiet >/dev/null 2>&1; echo $? >ended-$name) >/dev/null 2>&1 & }',
  "wait_on out4 10.209.0.1 53",
  "wait_on out6 fd6d:7362::1 53",
  "wait_on listener -l -p 7",
  "until netstat -tln | grep -q :7; do :; done",
  "wait_on within 127.0.0.1 7",
  "wait_on other -l -p 8",
  "until [ $(netstat -tn | grep -c ESTABLISHED) = 4 ]; do :; done",
].join("\n");

beforeAll(async () => {
  driver = await SandboxDriver.open("reborn");
  const sandbox = await driver.create({ name: "parent" });
  const { stderr } = await sandbox.shell(WAITS);
  expect(stderr).toBe("");
  host = await AgentHost.takeOver(driver);
});
afterAll(async () => {
  host?.[Symbol.dispose]();
  await driver?.[Symbol.asyncDispose]();
});

async function reborn(restore: Partial<Parameters<typeof restoreGuest>[1]>) {
  await freezeGuest(host.agent);
  await restoreGuest(host.agent, { ...another("child", 1), ...restore });
  await thawGuest(host.agent, { hooks: false });
}

const established = async () => {
  const lines = await host.shell("netstat -tn | grep ESTABLISHED || true");
  return lines.trim().split("\n").filter(Boolean);
};

test("connections stay when they are to be kept", async () => {
  await reborn({ keepConnections: true });
  expect(await established()).toHaveLength(4);
});

test("connections to others are over at once, those within the VM and listeners are not", async () => {
  await reborn({});
  // Who waited on one has been told.
  await host.shell("cd /tmp; until [ -e ended-out4 ] && [ -e ended-out6 ]; do :; done");
  const left = await established();
  expect(left).toHaveLength(2);
  expect(left).toEqual([expect.stringContaining("127.0.0.1:"), expect.stringContaining("127.0.0.1:")]);
  expect(await host.shell("ls /tmp | grep ended-")).toBe("ended-out4\nended-out6\n");
  expect(await host.shell("netstat -tln")).toContain(":8 ");
});

const address = (text: string) => IpAddress.parse(text)!.bytes;
const stored = guestNetworkOf(STORED_LINK);

test("its interface has another MAC address, and other addresses where it is told of them", async () => {
  const mac = Uint8Array.of(2, 0x6d, 0x73, 0x62, 0, 7);
  const addresses = [...stored.addresses, { address: address("10.210.0.9"), prefix: 20 }];
  await reborn({ network: { ...stored, mac, addresses } });
  const shown = await host.shell("ip addr show dev eth0");
  expect(shown).toContain("02:6d:73:62:00:07");
  for (const ip of ["10.209.0.2/24", "fd6d:7362::2/64", "10.210.0.9/20", "fe80::6d:73ff:fe62:7/64"])
    expect(shown).toContain(ip);
  // Not the ones that come of the MAC address which it no longer has.
  expect(shown.match(/fe80/g)).toHaveLength(1);

  const other = [{ address: address("10.209.0.5"), prefix: 24 }, stored.addresses[1]!];
  await reborn({ network: { ...stored, addresses: other } });
  const left = await host.shell("ip addr show dev eth0; ip route; ip -6 route");
  expect(left).toContain("10.209.0.5/24");
  expect(left).toContain("02:6d:73:62:00:07");
  expect(left).not.toMatch(/10\.210|10\.209\.0\.2\//);
  for (const by of ["10.209.0.1", "fd6d:7362::1"]) expect(left).toContain(`default via ${by} `);
  await reborn({ network: stored });
  expect(await host.shell("cat /etc/hosts")).toContain("10.209.0.2\tchild\n");
});

test("it knows nobody that it has learnt of on its link", async () => {
  await reborn({ network: stored });
  const known = async () => (await host.shell("ip neigh show dev eth0")).trim().split("\n").toSorted();
  const told = await known();
  // Nobody answers: it is remembered as one that was asked for.
  await host.shell("ping -c 1 -W 1 10.209.0.77 || true; ping -6 -c 1 -W 1 fd6d:7362::77 || true");
  expect(await known()).toHaveLength(told.length + 2);
  await reborn({});
  expect(await known()).toEqual(told);
  await host.shell("ping -c 1 -W 1 10.209.0.77 || true");
  await reborn({ network: { ...stored, mac: Uint8Array.of(2, 0x6d, 0x73, 0x62, 0, 8) } });
  expect(await known()).toEqual(told);
});

test("an interface that the sandbox has taken down or emptied is no obstacle", async () => {
  await host.shell("ip addr flush dev eth0; ip link set eth0 down");
  await reborn({});
  const addresses = [
    { address: address("10.209.0.6"), prefix: 24 },
    { address: address("fd6d:7362::6"), prefix: 64 },
  ];
  await reborn({ network: { ...stored, addresses } });
  await reborn({ network: { ...stored, mac: Uint8Array.of(2, 0x6d, 0x73, 0x62, 0, 9) } });
  await reborn({ network: { ...stored, mtu: 9_000 } });
  expect(await host.shell("ip addr show dev eth0")).toContain("10.209.0.2/24");
});
