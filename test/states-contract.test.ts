import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Sandbox } from "../src/sdk/index.ts";
import { clockError, WRONG_MS } from "./guest-clock.ts";
import { until } from "./sandbox-driver.ts";
import { FaultRoom } from "./state-faults.ts";

/** Two sandboxes of one state never act as one (docs/states.md). */

let room: FaultRoom;
let parent: Sandbox;
beforeAll(async () => {
  room = await FaultRoom.open("states-contract");
  await room.driver.importImage("python");
  parent = await room.driver.create({ name: "parent", image: "msb/python" });
});
afterAll(() => room?.[Symbol.asyncDispose]());

const said = async (sandbox: Sandbox, command: string) => (await sandbox.shell(command)).stdout;

/**
 * Runs in the parent, is forked or stored, and in each child says first thing what time it is, and then what it draws: from what it had
 * loaded, and drawn from, before. What OpenSSL keeps for itself is for the program to renew.
 */
const WITNESS = `
import os, secrets, socket, ssl, sys, time, uuid
def draw(): return [os.getrandom(16).hex(), os.urandom(16).hex(), str(uuid.uuid4()), secrets.token_hex(16), ssl.RAND_bytes(16).hex()]
generation = lambda: open("/run/microsandbox/generation").read()
draw()
before, monotonic, backwards = generation(), time.monotonic(), 0
open("/dev/shm/ready", "w").close()
while generation() == before:
    now = time.monotonic()
    backwards += now < monotonic
    monotonic = now
now = time.time()
backwards += time.monotonic() < monotonic
ssl.RAND_add(os.urandom(32), 32.0)
print(now, backwards, *draw(), flush=True)
time.sleep(1000)
`;

async function startWitness(): Promise<number> {
  await parent.shell("rm -f /dev/shm/ready");
  const process = await parent.processes.start("python3", ["-c", WITNESS]);
  await until(
    async () => (await parent.shell("test -e /dev/shm/ready")).exitCode === 0,
    "it has drawn before",
  );
  return process.info.process;
}

/** What the witness had to say in a child. */
async function witnessed(child: Sandbox, number: number) {
  room.driver.explainFailureOf(child);
  const log = async () => {
    const records = await Array.fromAsync(child.logs({ processes: [number] }));
    return records.map(({ text }) => text ?? "").join("");
  };
  await until(async () => (await log()).endsWith("\n"), "it has drawn");
  const [time, backwards, ...drawn] = (await log()).trim().split(" ");
  return { timeMs: Number(time) * 1000, backwards: Number(backwards), drawn };
}

/** What may be nobody else's, one a line; a new process says it. */
const WHO = `python3 -c '
import socket, ssl
print(open("/etc/machine-id").read(), end="")
print(socket.gethostname())
print(open("/sys/class/net/eth0/address").read(), end="")
for family, far in (socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"):
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.connect((far, 9))
        print(s.getsockname()[0])
print(ssl.RAND_bytes(16).hex())'`;

test("twenty children of one parent have nothing in common that must not be", async () => {
  const number = await startWitness();
  const drawn: string[] = [];
  const who = (await said(parent, WHO)).trim().split("\n");
  // All of them at once: what they have on their link is given again when they are gone.
  const children = await parent.fork({ count: 20, name: "child" });
  for (const child of children) {
    const seen = await witnessed(child, number);
    expect(seen.backwards).toBe(0);
    expect(seen.drawn).toHaveLength(5);
    drawn.push(...seen.drawn);
    who.push(...(await said(child, WHO)).trim().split("\n"));
    expect(await clockError(child)).toBeLessThanOrEqual(WRONG_MS);
    await child.remove({ force: true });
  }
  expect(new Set(drawn).size).toBe(20 * 5);
  expect(who).toHaveLength(21 * 6);
  expect(new Set(who).size).toBe(who.length);
  expect((await parent.processes.get(number)).info.state).toBe("running");
});

test("a state that has slept for an hour has the right time at its first instruction", async () => {
  const number = await startWitness();
  // As if it had been stored then: what is taken is a guest that knows nothing of the hour since.
  await said(parent, "date -s @$(($(date +%s) - 3600))");
  const snapshot = await parent.snapshot();
  const before = Date.now();
  const [child] = await snapshot.restore();
  const { timeMs, backwards } = await witnessed(child!, number);
  expect(timeMs).toBeGreaterThanOrEqual(before - WRONG_MS);
  expect(timeMs).toBeLessThanOrEqual(Date.now() + WRONG_MS);
  expect(backwards).toBe(0);
  expect(await clockError(child!)).toBeLessThanOrEqual(WRONG_MS);
  // And the parent, which stood still meanwhile.
  expect(await clockError(parent)).toBeLessThanOrEqual(WRONG_MS);
  await child!.remove({ force: true });
  await snapshot.remove();
});

test("a child whose agent does not acknowledge runs nothing of the user's, and is ended with an event", async () => {
  const { driver } = room;
  const spinning = await parent.processes.start("sh", ["-c", "while :; do :; done"]);
  const [old] = await driver.vmPids();
  await room.arm("load.greeted", "hold");
  const forking = parent.fork({ name: "mute" }).catch((error) => error);
  await room.held();
  const mute = (await driver.vmPids()).find((pid) => pid !== old)!;
  // Its processes are those of the parent, which spin: a guest in which one ran would be as busy.
  const [oldMs, muteMs] = [await cpuMs(old!), await cpuMs(mute)];
  await until(async () => (await cpuMs(old!)) > oldMs + 500, "the parent has spun for a while");
  expect((await cpuMs(mute)) - muteMs).toBeLessThan(200);
  process.kill(mute, "SIGSTOP");
  await room.letGo();
  expect(await forking).toMatchObject({ code: "timeout" });
  expect(await driver.vmPids()).toEqual([old]);
  const failed = driver.seen("sandbox.failed").filter(({ data }) => data.name === "mute");
  expect(failed).toHaveLength(1);
  expect(failed[0]!.message).toContain("reply to restore");
  expect((await Sandbox.list({ connection: driver.connection })).map(({ name }) => name)).toEqual(["parent"]);
  await spinning.signal("KILL");
});

async function cpuMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
