import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { getPriority } from "node:os";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type CreateOptions, Pool, type PoolInfo, Sandbox } from "../src/sdk/index.ts";
import { clockError, WRONG_MS } from "./guest-clock.ts";
import { BASE_IMAGE, isAlive, SandboxDriver, until } from "./sandbox-driver.ts";

/** Sandboxes that are claimed from a pool. */
let driver: SandboxDriver;
beforeAll(async () => {
  driver = await SandboxDriver.open("pool");
});
afterAll(() => driver?.[Symbol.asyncDispose]());

const of = (connection = driver.connection) => ({ connection });
const pool = async (image = BASE_IMAGE): Promise<PoolInfo> =>
  (await Pool.list(of())).find((each) => each.image === image)!;
const isFull = (count: number, image = BASE_IMAGE) =>
  until(async () => (await pool(image)).ready === count, `${count} are ready`, 110_000);
/** Keeps so many of an image, and waits until they are there. */
async function keep(count: number, image = BASE_IMAGE): Promise<void> {
  await Pool.set({ image, count }, of());
  await isFull(count, image);
}
const wasClaimed = ({ info }: Sandbox) => info.timings.some(({ name }) => name === "claim");
const claim = async (options: Partial<CreateOptions> = {}) => {
  const sandbox = await driver.create(options);
  expect(wasClaimed(sandbox)).toBe(true);
  return sandbox;
};

describe("a sandbox that is claimed", () => {
  beforeAll(() => keep(3));
  afterEach(async () => {
    await driver.removeAll();
    await isFull(3);
  });

  test("is what it was asked to be", async () => {
    const sandbox = await claim({
      name: "claimed",
      env: { COLOUR: "red" },
      workdir: "/srv",
      labels: { a: "b" },
      files: [{ path: "/srv/greeting", text: "hello" }],
    });
    expect(sandbox.info).toMatchObject({ name: "claimed", state: "running", spec: { labels: { a: "b" } } });
    const { stdout } = await sandbox.shell("hostname; cat /etc/hostname; pwd; echo $COLOUR; cat greeting");
    expect(stdout).toBe("claimed\nclaimed\n/srv\nred\nhello");
    expect((await sandbox.shell("cat /run/microsandbox/generation")).stdout).toBe("0\n");
    // What ran in it before is not to be seen.
    expect(await sandbox.processes.list()).toHaveLength(2);
    // It is one like any other from now on.
    await sandbox.shell("echo kept >/srv/own; sync");
    const [child] = await sandbox.fork({ count: 1 });
    expect((await child!.shell("cat /srv/own; cat /run/microsandbox/generation")).stdout).toBe("kept\n1\n");
    await sandbox.stop();
    await sandbox.start();
    expect(wasClaimed(sandbox)).toBe(false);
    expect((await sandbox.shell("cat /srv/own")).stdout).toBe("kept\n");
  });

  test("runs its command, has the rules of its network, and its ports", async () => {
    const server = createServer((socket) => socket.end("from the host")).listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      const { port } = server.address() as AddressInfo;
      const network = { rules: [`allow egress host tcp:${port}`], ports: [{ host: 0, guest: 7000 }] };
      const sandbox = await claim({
        network,
        command: ["sh", "-c", "echo within | nc -l -p 7000; sleep 1000"],
      });
      const [main] = await sandbox.processes.list();
      expect(main!.info).toMatchObject({ main: true, state: "running" });
      const { stdout } = await sandbox.shell(`nc -w 20 host.microsandbox.internal ${port} </dev/null`);
      expect(stdout).toBe("from the host");
      await sandbox.shell("until netstat -tln | grep -q :7000; do usleep 10000; done");
      const visitor = connect(sandbox.info.ports![0]!.host, "127.0.0.1");
      expect(String(await once(visitor, "data"))).toBe("within\n");
      visitor.destroy();
    } finally {
      server.close();
    }
  });

  test("has the right time, however long it had waited", async () => {
    // The first of them has stood still while the others were made.
    for (let i = 0; i < 3; i++) expect(await clockError(await claim())).toBeLessThanOrEqual(WRONG_MS);
  });

  test("what must be there before is started the usual way", async () => {
    const { hits, misses } = await pool();
    for (const other of [
      { mounts: [{ type: "tmpfs", target: "/t" }] },
      { diskMiB: 8192 },
      { memoryMiB: 320 },
    ]) {
      const sandbox = await driver.create(other as Partial<CreateOptions>);
      expect(wasClaimed(sandbox)).toBe(false);
    }
    expect(await pool()).toMatchObject({ hits, misses });
  });

  test("two who want the last one at once do not both get it", async () => {
    const made = await Promise.all(Array.from({ length: 5 }, () => driver.create()));
    expect(made.filter(wasClaimed)).toHaveLength(3);
    const names = await Promise.all(made.map(async (each) => (await each.shell("hostname")).stdout.trim()));
    expect(names.sort()).toEqual(made.map(({ name }) => name).sort());
  });
});

describe("VMs that wait", () => {
  test("are no sandboxes yet; one that dies is replaced", async () => {
    await keep(2);
    expect(await Sandbox.list(of())).toEqual([]);
    const [victim] = await driver.vmPids();
    // While it was made it had yielded to others.
    expect(getPriority(victim)).toBe(getPriority());
    process.kill(victim!, "SIGKILL");
    await until(() => driver.seen("pool.lost").length === 1, "its loss is told");
    await isFull(2);
    expect(await driver.vmPids()).toHaveLength(2);
    expect(await driver.vmPids()).not.toContain(victim);
  });

  test("one whose agent does not acknowledge is ended, and the sandbox starts the usual way", async () => {
    await Pool.remove(BASE_IMAGE, of());
    await keep(1);
    const [silent] = await driver.vmPids();
    process.kill(silent!, "SIGSTOP");
    await using sandbox = await driver.create({ name: "spared" });
    expect(wasClaimed(sandbox)).toBe(false);
    expect((await sandbox.shell("hostname")).stdout).toBe("spared\n");
    expect(await isAlive(silent!)).toBe(false);
    expect(driver.seen("pool.claim-failed")).toHaveLength(1);
  });

  test("are gone with a daemon that is killed, and with the pool", async () => {
    await keep(2);
    const pids = await driver.vmPids();
    await driver.killDaemon();
    await isFull(2);
    for (const pid of pids) expect(await isAlive(pid)).toBe(false);
    expect(await driver.files("sandboxes")).toHaveLength(2);
    expect((await driver.msb(["pool", "rm", BASE_IMAGE])).stdout).toBe(`${BASE_IMAGE}\n`);
    expect(await driver.vmPids()).toEqual([]);
    expect(await driver.files("sandboxes")).toEqual([]);
    expect((await driver.files("run")).filter((name) => /^[0-9a-f]{8}$/.test(name))).toEqual([]);
  });
});
