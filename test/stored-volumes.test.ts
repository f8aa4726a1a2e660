import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Sandbox, Volume } from "../src/sdk/index.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** Named volumes of sandboxes whose state is stored. */
describe("a volume of a sandbox that is stored", () => {
  let driver: SandboxDriver;
  beforeAll(async () => {
    driver = await SandboxDriver.open("stored-volumes");
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  const read = async (sandbox: Sandbox) => (await sandbox.shell("cat /data/it")).stdout;
  const names = async () =>
    (await Volume.list({ connection: driver.connection })).map(({ name }) => name).sort();

  test("is refused, or copied as it is then, for each that begins with it", {
    timeout: 300_000,
  }, async () => {
    const { connection } = driver;
    const mounts = [{ type: "volume" as const, name: "data", target: "/data" }];
    await using box = await driver.create({ name: "box", mounts });
    // In memory only, as far as nobody has synced it.
    await box.shell("echo before > /data/it");
    await expect(box.fork()).rejects.toMatchObject({ code: "invalid_state", details: { volumes: ["data"] } });
    expect(await names()).toEqual(["data"]);
    const children = await box.fork({ name: "child", count: 2, volumes: "copy" });
    const snapshot = await box.snapshot({ name: "kept", volumes: "copy" });
    expect(snapshot.info.volumes).toEqual(["data"]);
    // As sparse as the one that it is of.
    expect((await Volume.get("data-child-1", { connection })).usedBytes).toBeLessThan(64 * 1024 ** 2);
    expect(snapshot.info.bytes.volumes).toBeLessThan(64 * 1024 ** 2);
    await box.shell("echo after > /data/it");
    await children[0]!.shell("echo own > /data/it && sync");
    expect(await names()).toEqual(["data", "data-child-1", "data-child-2"]);
    expect(await Promise.all([box, ...children].map(read))).toEqual(["after\n", "own\n", "before\n"]);
    for (const child of children) await child.remove({ force: true });

    await box.stop();
    const stopped = await Sandbox.get("box", { connection });
    const disks = await stopped.snapshot({ name: "disks", volumes: "copy" });
    const [ran] = await snapshot.restore({ name: "ran" });
    const [again] = await disks.restore({ name: "again" });
    expect([await read(ran!), await read(again!)]).toEqual(["before\n", "after\n"]);
    for (const each of [ran!, again!]) await each.remove({ force: true });
  });

  test("that it only reads is as its guest has made it, when it goes on and in its children", async () => {
    const mounts = (readOnly: boolean) => [
      { type: "volume" as const, name: "read", target: "/data", readOnly },
    ];
    await using writer = await driver.create({ mounts: mounts(false) });
    await writer.shell("echo all > /data/it");
    await writer.remove({ force: true });
    await using reader = await driver.create({ mounts: mounts(true) });
    await reader.shell("mount -o remount,rw /data && echo mine > /data/own && sync");
    // Not what its kernel has in memory, but what its disk has.
    const seen = async (sandbox: Sandbox) =>
      (await sandbox.shell("sync; echo 3 > /proc/sys/vm/drop_caches; cat /data/it /data/own")).stdout;
    await reader.suspend();
    expect(await seen(reader)).toBe("all\nmine\n");
    const children = await reader.fork({ count: 2 });
    await children[0]!.shell("echo own > /data/own");
    expect(await Promise.all([reader, ...children].map(seen))).toEqual([
      "all\nmine\n",
      "all\nown\n",
      "all\nmine\n",
    ]);
    for (const child of children) await child.remove({ force: true });
  });
});
