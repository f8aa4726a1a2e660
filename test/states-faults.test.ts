import { stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Sandbox } from "../src/sdk/index.ts";
import { until } from "./sandbox-driver.ts";
import { brokenOff, type Fault, FaultRoom, GROUPS } from "./state-faults.ts";

/**
 * Operations on stored states that are broken off at each of their steps. The suite has a few of each; `npm run soak -- states faults`
 * has them all (`MSB_ALL_FAULTS`).
 */

const ALL = process.env.MSB_ALL_FAULTS === "1";

let room: FaultRoom;
beforeAll(async () => {
  room = await FaultRoom.open("state-faults");
});
afterAll(() => room?.[Symbol.asyncDispose]());

test.each(GROUPS)(
  "$operation: whole or absent, and the sandbox goes on or says why not",
  async ({ all, inSuite }) => {
    const broken: { fault: Fault; how: string[] }[] = [];
    const faults = ALL ? all : inSuite;
    for (const fault of faults) {
      const how = await brokenOff(room, fault).catch((error) => [String(error)]);
      if (how.length > 0) broken.push({ fault, how });
    }
    expect(broken).toEqual([]);
    console.log(`${faults.length} faults of ${all.length}`);
  },
  ALL ? 3_600_000 : 120_000,
);

/** Its kernel commits what it has within five seconds, which is while the VM that is to wake it is held. */
const WRITER = "echo kept > /root/file && sync && echo late > /root/late";

/** Uses a suspended sandbox, and holds the VM that is to wake it until that has written to a disk. @returns what the use ends with */
async function writesWhileHeld(sandbox: Sandbox): Promise<{ woken: Promise<unknown> }> {
  const folder = join("sandboxes", sandbox.id, "disk");
  const written = async () => {
    const names = await room.driver.files(folder);
    const files = await Promise.all(names.map((name) => stat(join(room.driver.home, folder, name))));
    return Math.max(...files.map(({ mtimeMs }) => mtimeMs));
  };
  const before = await written();
  await room.arm("load.restored", "hold");
  const woken = sandbox.exec("true").catch((error) => error);
  await room.held();
  await until(async () => (await written()) > before, "its kernel has written");
  return { woken };
}

test.each(["the operation fails", "the daemon dies"])(
  "one that is not woken after its kernel has written to its disks starts from those: %s",
  async (how) => {
    const { driver } = room;
    const others = await driver.vmPids();
    await using sandbox = await driver.create({ name: "writer", idleTimeoutMs: 1000, onIdle: "suspend" });
    await sandbox.shell(WRITER);
    const suspended = async () => (await sandbox.inspect()).state === "suspended";
    await until(suspended, "it is suspended");
    const { woken } = await writesWhileHeld(sandbox);
    if (how === "the daemon dies") {
      await driver.killDaemon();
      await room.letGo();
    } else {
      await room.arm("wake.loaded", "fail");
      await room.letGo();
      expect(await woken).toMatchObject({
        code: "internal",
        message: expect.stringContaining("does not fit"),
      });
    }
    await woken;
    await expect(sandbox.exec("true")).rejects.toMatchObject({
      message: expect.stringMatching(/does not fit|failed/),
    });
    expect(await Sandbox.get("writer", { connection: driver.connection })).toMatchObject({
      info: { state: "failed", reason: expect.stringContaining("had written to its disks") },
    });
    expect((await driver.files("states")).filter((name) => !name.endsWith(".memory"))).toEqual([]);
    expect(await driver.vmPids()).toEqual(others);
    await sandbox.start();
    expect((await sandbox.shell("cat /root/file")).stdout).toBe("kept\n");
  },
);

test("one of these that has a volume is killed and removed as any other", async () => {
  const { driver } = room;
  const mounts = [{ type: "volume" as const, name: "data", target: "/data" }];
  await using sandbox = await driver.create({ name: "holder", mounts });
  await sandbox.shell(`echo kept > /data/file && ${WRITER}`);
  for (const end of [() => sandbox.kill(), () => sandbox.remove({ force: true })]) {
    await sandbox.suspend();
    const { woken } = await writesWhileHeld(sandbox);
    await driver.killDaemon();
    await room.letGo();
    await woken;
    await end();
    const [left] = await Sandbox.list({ connection: driver.connection }).then((all) =>
      all.filter(({ name }) => name === "holder"),
    );
    if (left === undefined) break;
    expect(left.info.state).toBe("failed");
    await sandbox.start();
    await sandbox.shell(WRITER);
  }
  await using next = await driver.create({ mounts });
  expect((await next.shell("cat /data/file")).stdout).toBe("kept\n");
});
