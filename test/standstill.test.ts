import { afterAll, beforeAll, expect, test } from "vitest";
import { freezeGuest, type GuestProcess, restoreGuest, thawGuest } from "../src/engine/guest/index.ts";
import { AgentHost, another } from "./agent-host.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** User processes stand still, and the VM becomes another one before they go on. */
let driver: SandboxDriver;
let host: AgentHost;
beforeAll(async () => {
  driver = await SandboxDriver.open("standstill");
  await driver.create({ name: "parent" });
  host = await AgentHost.takeOver(driver);
});
afterAll(async () => {
  host?.[Symbol.dispose]();
  await driver?.[Symbol.asyncDispose]();
});

test("what runs stands still until it is thawed, and goes on as if nothing had been", async () => {
  const children = "sleep 1000 & (while :; do :; done) & ";
  const writer = await host.begin(`${children} while :; do echo x; done`);
  const written = countOutput(writer);
  await written.grows();
  for (let i = 0; i < 10; i++) {
    await freezeGuest(host.agent);
    await written.settles();
    await expect(host.shell("true")).rejects.toMatchObject({ code: "invalid_state" });
    await thawGuest(host.agent, { hooks: false });
    await written.grows();
  }
  writer.signal(9, "tree");
  await writer.exited;
});

test("so does what runs in control groups that the sandbox has made", async () => {
  const move = "mkdir -p /sys/fs/cgroup/mine/below; echo $$ >/sys/fs/cgroup/mine/below/cgroup.procs";
  const writer = await host.begin(`${move}; while :; do echo x; done`);
  const written = countOutput(writer);
  await written.grows();
  for (let i = 0; i < 3; i++) {
    await freezeGuest(host.agent);
    await written.settles();
    await thawGuest(host.agent, { hooks: false });
    await written.grows();
  }
  // What it has told to stand still itself does not go on.
  await host.shell("echo 1 >/sys/fs/cgroup/mine/cgroup.freeze");
  await freezeGuest(host.agent);
  await thawGuest(host.agent, { hooks: false });
  expect(await host.shell("cat /sys/fs/cgroup/mine/cgroup.freeze")).toBe("1\n");
  writer.signal(9);
  await writer.exited;
});

test.each([
  ["topmost group, where the agent is", "/sys/fs/cgroup"],
  ["group of hooks", "/sys/fs/cgroup/hooks"],
])("so does what root has moved to the %s", async (_, group) => {
  const writer = await host.begin(
    `echo $$ >/tmp/pid; echo $$ >${group}/cgroup.procs; while :; do echo x; done`,
  );
  const written = countOutput(writer);
  await written.grows();
  const pid = (await host.shell("cat /tmp/pid")).trim();
  expect(await host.shell(`grep -c ^${pid}$ ${group}/cgroup.procs`)).toBe("1\n");
  for (let i = 0; i < 3; i++) {
    await freezeGuest(host.agent);
    await written.settles();
    await thawGuest(host.agent, { hooks: false });
    await written.grows();
  }
  // What is the agent's and the kernel's is where it was.
  const groups = `0::/sandbox/strays\n0::/\n0::/\n`;
  expect(await host.shell(`cat /proc/${pid}/cgroup /proc/1/cgroup /proc/2/cgroup`)).toBe(groups);
  // One that goes there again is found again, also when somebody has removed the group that it is brought to.
  await host.shell(`echo ${pid} >${group}/cgroup.procs; rmdir /sys/fs/cgroup/sandbox/strays`);
  await freezeGuest(host.agent);
  await written.settles();
  await thawGuest(host.agent, { hooks: false });
  writer.signal(9);
  await writer.exited;
});

test("one that stands still can be killed", async () => {
  const victim = await host.begin("sleep 1000");
  countOutput(victim);
  await freezeGuest(host.agent);
  victim.signal(9);
  expect(await victim.exited).toMatchObject({ signal: 9 });
  await thawGuest(host.agent, { hooks: false });
});

test("a VM becomes another one before its processes go on", async () => {
  await host.shell("echo 9.9.9.9 nine >>/etc/hosts; chmod 640 /etc/machine-id");
  // Runs on in the other one, and looks first thing at who it is.
  const who = "hostname; cat /etc/hostname /etc/machine-id /run/microsandbox/generation; date +%s";
  const witness = await host.begin(
    `echo up; until [ $(cat /run/microsandbox/generation) = 12 ]; do :; done; ${who}`,
  );
  const seen = countOutput(witness);
  await seen.has("up");
  await freezeGuest(host.agent);

  const next = another("a-child-with-a-longer-name", 12);
  next.identity.timeNs += 3_600_000_000_000n;
  const { timeNs } = await restoreGuest(host.agent, next);
  expect(timeNs).toBeGreaterThanOrEqual(next.identity.timeNs);
  await thawGuest(host.agent, { hooks: false });

  expect(await witness.exited).toEqual({ code: 0 });
  const [, name, file, machineId, generation, seconds] = seen.text().split("\n");
  expect([name, file]).toEqual([next.identity.hostname, next.identity.hostname]);
  expect(machineId).toBe(next.identity.machineId);
  expect(generation).toBe("12");
  expect(Number(seconds)).toBeGreaterThanOrEqual(Math.floor(Number(next.identity.timeNs / 1_000_000_000n)));
  // The sandbox's own line is still there; so is the name that it then had.
  expect(await host.shell("cat /etc/hosts")).toMatch(/\tparent\n9\.9\.9\.9 nine\n$/);
  expect(await host.shell("stat -c %a /etc/machine-id")).toBe("640\n");
});

/** How much a process has written. */
function countOutput(process: GuestProcess) {
  let text = "";
  process.onOutput((stream, offset, data) => {
    text += data;
    process.ack(stream, offset + data.length);
  });
  const deadline = Date.now() + 20_000;
  const ping = async (wanted: string) => {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${wanted}`);
    await host.agent.ping();
  };
  return {
    text: () => text,
    async has(words: string) {
      while (!text.includes(words)) await ping(`it writes ${words}`);
    },
    async grows() {
      for (const before = text.length; text.length === before; ) await ping("it writes");
    },
    async settles() {
      // What it had written before is still on its way; and for 16 ms the agent may gather what is new.
      for (let same = 0; same < 100; ) {
        const before = text.length;
        await ping("it writes no more");
        same = text.length === before ? same + 1 : 0;
      }
    },
  };
}
