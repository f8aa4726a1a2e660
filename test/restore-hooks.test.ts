import { afterAll, beforeAll, expect, test } from "vitest";
import { freezeGuest, restoreGuest, thawGuest } from "../src/engine/guest/index.ts";
import { AgentHost, another } from "./agent-host.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** The sandbox's own programs, which run in a VM that has become another one before its processes go on. */
let driver: SandboxDriver;
let host: AgentHost;
beforeAll(async () => {
  driver = await SandboxDriver.open("hooks");
  await driver.create({ name: "parent" });
  host = await AgentHost.takeOver(driver);
  await host.shell("mkdir -p /etc/msb/on-restore.d /tmp/seen");
});
afterAll(async () => {
  host?.[Symbol.dispose]();
  await driver?.[Symbol.asyncDispose]();
});

/** These are all hooks that there are. */
async function hooks(scripts: Record<string, string>): Promise<void> {
  const write = Object.entries(scripts).map(
    ([name, script]) => `cat >$d/${name} <<'END'\n#!/bin/sh\n${script}\nEND\nchmod 755 $d/${name}`,
  );
  await host.shell(["d=/etc/msb/on-restore.d; rm -f $d/*", ...write].join("\n"));
}

async function reborn(generation: number) {
  await freezeGuest(host.agent);
  await restoreGuest(host.agent, another(`child-${generation}`, generation));
  return await thawGuest(host.agent, { hooks: true });
}

/** Who is in the group that stands still, and whether it does. */
const STILL = "grep frozen /sys/fs/cgroup/sandbox/cgroup.events; cat /proc/$(cat /tmp/pid)/cgroup";

test("a hook runs as the other one, and processes go on when it has ended", async () => {
  await hooks({
    "10-who": "echo $MSB_SANDBOX $(hostname) $MSB_GENERATION $(id -u) >/tmp/seen/who",
    "20-still": `(${STILL}) >/tmp/seen/still`,
    "30-fails": "exit 4",
  });
  const writer = await host.begin("echo $$ >/tmp/pid; while :; do echo x >>/tmp/count; done");
  await host.shell("until [ -s /tmp/count ]; do :; done");
  expect(await reborn(5)).toEqual([
    { name: "10-who", code: 0 },
    { name: "20-still", code: 0 },
    { name: "30-fails", code: 4 },
  ]);
  expect(await host.shell("cat /tmp/seen/who")).toBe("child-5 child-5 5 0\n");
  expect(await host.shell("cat /tmp/seen/still")).toMatch(/^frozen 1\n0::\/sandbox\/\d+\n$/);
  await host.shell("n=$(wc -c </tmp/count); until [ $(wc -c </tmp/count) -gt $n ]; do :; done");
  writer.signal(9, "tree");
});

test("what a hook has started goes on with the sandbox's processes, and stands still with them", async () => {
  await hooks({
    "10-daemon": "(while :; do echo x >>/tmp/daemon; done) >/dev/null 2>&1 & echo $! >/tmp/pid",
    "20-still": `(${STILL}) >/tmp/seen/still`,
  });
  expect(await reborn(6)).toMatchObject([{ code: 0 }, { code: 0 }]);
  expect(await host.shell("cat /tmp/seen/still")).toMatch(/^frozen 1\n0::\/sandbox\/\d+\n$/);
  await host.shell("n=$(wc -c </tmp/daemon); until [ $(wc -c </tmp/daemon) -gt $n ]; do :; done");
  await host.shell("kill -9 $(cat /tmp/pid)");
  expect(await host.shell("cat /sys/fs/cgroup/hooks/cgroup.procs")).toBe("");
});

test("one that takes too long is killed with all that it has started", { timeout: 60_000 }, async () => {
  await hooks({ endless: "setsid sleep 4711 & sleep 4712", next: "echo >/tmp/seen/next" });
  expect(await reborn(8)).toEqual([
    { name: "endless", timeout: true },
    { name: "next", code: 0 },
  ]);
  expect(await host.shell("ls /tmp/seen/next; ps | grep -c 'sleep 471[12]' || true")).toBe(
    "/tmp/seen/next\n0\n",
  );
});

test("without hooks nothing is waited for", async () => {
  await host.shell("rm -r /etc/msb");
  expect(await reborn(9)).toEqual([]);
});
