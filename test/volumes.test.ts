import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Image, type MountInput, Sandbox, Volume } from "../src/sdk/index.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";

/** Named volumes: they outlive sandboxes, have one writer or many readers, and what was committed to them stays. */

let driver: SandboxDriver;
beforeAll(async () => {
  driver = await SandboxDriver.open("volumes");
});
afterAll(() => driver?.[Symbol.asyncDispose]());

const call = () => ({ connection: driver.connection });
const data = (more: { readOnly?: boolean; target?: string } = {}): MountInput => ({
  type: "volume",
  name: "data",
  target: "/data",
  ...more,
});
const diskOf = (name: string) => join(driver.home, "volumes", name, "disk.ext4");

describe("a volume", () => {
  beforeEach(async () => {
    await driver.removeAll();
    await Volume.prune(call());
  });

  test("keeps what a sandbox has written for the next one, and for itself after a restart", async () => {
    await Volume.create("data", { ...call(), sizeMiB: 6144 });
    const first = await driver.create({ name: "first", mounts: [data()] });
    const { stdout } = await first.shell(
      "echo kept > /data/file; grep -c ' /data ext4 rw' /proc/mounts; df -m /data | awk 'NR > 1 { print ($2 > 5500) }'",
    );
    expect(stdout).toBe("1\n1\n");
    await first.stop();
    await first.start();
    expect((await first.shell("cat /data/file; echo more >> /data/file")).stdout).toBe("kept\n");
    await first.stop();
    await first.remove();
    const second = await driver.create({ name: "second", mounts: [data({ target: "/var/lib/deep/data" })] });
    expect((await second.shell("cat /var/lib/deep/data/file")).stdout).toBe("kept\nmore\n");
    expect(await Volume.get("data", call())).toMatchObject({
      sizeMiB: 6144,
      users: [{ name: "second", state: "running", readOnly: false }],
    });
    expect((await stat(diskOf("data"))).blocks * 512).toBeLessThan(256 * 1024 ** 2);
  });

  test("is free for the next command as soon as the one before has ended", async () => {
    for (let i = 0; i < 3; i++) {
      const run = await driver.msb([
        ...["run", "--volume", "data:/data", "msb/base", "--"],
        ...["sh", "-c", "echo x >> /data/x; wc -l < /data/x"],
      ]);
      expect(run).toMatchObject({ code: 0, stdout: `${i + 1}\n` });
    }
  });

  test("is made by the first sandbox that names it, and not kept if that could not be created", async () => {
    const broken: MountInput[] = [data(), { type: "tmpfs", target: "/etc/passwd" }];
    await expect(driver.create({ mounts: broken })).rejects.toMatchObject({ code: "invalid_argument" });
    expect(await Volume.list(call())).toEqual([]);
    expect(await driver.files("volumes")).toEqual([]);
    const run = await driver.msb([
      "run",
      "--volume",
      "data:/data",
      "msb/base",
      "--",
      "sh",
      "-c",
      "echo x > /data/x",
    ]);
    expect(run).toMatchObject({ code: 0 });
    const again = await driver.msb(["run", "-v", "data:/data:ro", "msb/base", "--", "cat", "/data/x"]);
    expect(again).toMatchObject({ code: 0, stdout: "x\n" });
    const ls = await driver.msb(["volume", "ls"]);
    expect(ls.stdout).toMatch(/^data\s+4\.0 GiB/m);
  });

  test("has one writer: a second one hears who that is, before anything starts", async () => {
    const writer = await driver.create({ name: "writer", mounts: [data()] });
    const before = await driver.vmPids();
    for (const readOnly of [false, true]) {
      await expect(driver.create({ mounts: [data({ readOnly })] })).rejects.toMatchObject({
        code: "invalid_state",
        message: expect.stringContaining("'writer'"),
      });
    }
    expect(await driver.vmPids()).toEqual(before);
    await expect(Volume.remove("data", call())).rejects.toMatchObject({
      code: "invalid_state",
      message: expect.stringContaining("'writer'"),
    });
    await writer.stop();
    const other = await driver.create({ name: "other", mounts: [data()] });
    await expect(writer.start()).rejects.toMatchObject({ code: "invalid_state" });
    expect((await Sandbox.get("writer", call())).info.state).toBe("stopped");
    await other.remove({ force: true });
    await writer.start();
    await writer.remove({ force: true });
    await Volume.remove("data", call());
    expect(await driver.files("volumes")).toEqual([]);
  });

  test("of two creates at the same moment one becomes the writer", async () => {
    const results = await Promise.allSettled(
      ["a", "b", "c"].map((name) => driver.create({ name, mounts: [data()] })),
    );
    const refused = results.filter((result) => result.status === "rejected");
    expect(refused.map(({ reason }) => reason.code)).toEqual(["invalid_state", "invalid_state"]);
    expect(await driver.vmPids()).toHaveLength(1);
  });

  test("has many readers at once, who cannot change it, not even as root with a mount of their own", async () => {
    const writer = await driver.create({ name: "w", mounts: [data()] });
    await writer.shell("echo one > /data/file; sync");
    // No orderly end: the journal is still to be replayed by whoever comes.
    const [pid] = await driver.vmPids();
    process.kill(pid!, "SIGKILL");
    await until(async () => (await driver.vmPids()).length === 0, "the VM is gone");
    await until(
      async () => (await Sandbox.get("w", call())).info.state === "failed",
      "the daemon has seen it",
    );
    await writer.remove();
    const written = async () => {
      const { mtimeNs, blocks } = await stat(diskOf("data"), { bigint: true });
      return [mtimeNs, blocks];
    };
    const before = await written();
    const readers = await Promise.all(
      ["r1", "r2"].map((name) => driver.create({ name, mounts: [data({ readOnly: true })] })),
    );
    for (const reader of readers) {
      const { stdout } = await reader.shell(
        "grep -c ' /data ext4 ro' /proc/mounts; cat /data/file; echo x > /data/file; mount -o remount,rw /data; echo x > /data/file; sync; cat /data/file",
      );
      expect(stdout).toMatch(/^1\none\n(one|x)\n$/);
    }
    await expect(driver.create({ mounts: [data()] })).rejects.toMatchObject({
      code: "invalid_state",
      message: expect.stringMatching(/'r[12]' reads/),
    });
    expect(await written()).toEqual(before);
    for (const reader of readers) await reader.remove({ force: true });
    const last = await driver.create({ mounts: [data()] });
    expect((await last.shell("cat /data/file")).stdout).toBe("one\n");
  });

  test("is held by a sandbox whose daemon was killed, and free when its VM was", async () => {
    const writer = await driver.create({ name: "writer", mounts: [data()] });
    await writer.shell("echo kept > /data/file; sync");
    await driver.killDaemon();
    await expect(driver.create({ mounts: [data()] })).rejects.toMatchObject({
      code: "invalid_state",
      message: expect.stringContaining("'writer'"),
    });
    const [pid] = await driver.vmPids();
    await driver.killDaemon();
    process.kill(pid!, "SIGKILL");
    await until(async () => (await driver.vmPids()).length === 0, "the VM is gone");
    const next = await driver.create({ name: "next", mounts: [data()] });
    expect((await next.shell("cat /data/file")).stdout).toBe("kept\n");
  });

  test("has all that was written to it when its sandbox is killed, which needs no sync", async () => {
    const box = await driver.create({ name: "box", mounts: [data()] });
    await box.shell("echo killed > /data/killed; sleep 1000 >/dev/null 2>&1 &");
    await box.kill();
    await box.remove();
    const run = await driver.msb([
      "run",
      "-v",
      "data:/data",
      "msb/base",
      "--",
      "sh",
      "-c",
      "cp /data/killed /data/run",
    ]);
    expect(run).toMatchObject({ code: 0, stderr: "" });
    const detached = [
      "run",
      "-d",
      "--rm",
      "-v",
      "data:/data",
      "msb/base",
      "--",
      "cp",
      "/data/run",
      "/data/detached",
    ];
    expect(await driver.msb(detached)).toMatchObject({ code: 0 });
    await until(async () => (await Sandbox.list(call())).length === 0, "it has removed itself");
    await until(async () => (await driver.vmPids()).length === 0, "its VM is gone");
    const reader = await driver.msb([
      "run",
      "-v",
      "data:/d:ro",
      "msb/base",
      "--",
      "cat",
      "/d/run",
      "/d/detached",
    ]);
    expect(reader).toMatchObject({ code: 0, stdout: "killed\nkilled\n" });
  });

  test("stands beside others, each under its own name, up to sixteen", async () => {
    const mounts = ["one", "two", "three"].map(
      (name): MountInput => ({ type: "volume", name, target: `/${name}` }),
    );
    const box = await driver.create({ mounts });
    await box.shell("for n in one two three; do echo $n > /$n/name; done");
    await box.remove({ force: true });
    const reversed = [...mounts].reverse();
    const again = await driver.create({ mounts: reversed });
    expect((await again.shell("cat /one/name /two/name /three/name")).stdout).toBe("one\ntwo\nthree\n");
    const shapes = (await driver.msb(["template", "ls", "--json"])).stdout;
    expect(JSON.parse(shapes).map((t: { shape: { volumeSlots: number } }) => t.shape.volumeSlots)).toContain(
      4,
    );
  });

  test("prune takes those that nobody has", async () => {
    await Volume.create("unused", call());
    await driver.create({ name: "user", mounts: [data()] }).then((sandbox) => sandbox.stop());
    const report = await driver.msb(["volume", "prune", "--force", "--json"]);
    expect(JSON.parse(report.stdout)).toMatchObject({ removed: ["unused"] });
    expect((await Volume.list(call())).map(({ name }) => name)).toEqual(["data"]);
    expect((await driver.msb(["volume", "prune"])).code).toBe(1);
  });
});

describe("SQLite on a volume", () => {
  beforeAll(async () => {
    const images = fileURLToPath(new URL("../build/images/", import.meta.url));
    const config = JSON.parse(await readFile(join(images, "msb-python.config.json"), "utf8"));
    const tar = createReadStream(join(images, "msb-python.tar"));
    await Image.import("msb/python", tar, { ...call(), config });
  });

  // DELETE with FULL is SQLite's default: it commits by removing a file and does not sync the folder after it, so that without dirSync the
  // last transaction may come undone when a machine loses its power. Seen here six times of six; the others, none of twelve.
  test.each([
    ["WAL", "FULL", false],
    ["DELETE", "EXTRA", false],
    ["DELETE", "FULL", true],
  ])(
    "has all that it committed when its VM is killed: journal %s, synchronous %s, dirSync %s",
    async (journal, synchronous, dirSync) => {
      const name = `db-${journal}-${synchronous}`.toLowerCase();
      const mounts: MountInput[] = [{ type: "volume", name, target: "/db", dirSync }];
      const writer = await driver.create({ image: "msb/python", mounts });
      const program = [
        "import sqlite3, itertools",
        "db = sqlite3.connect('/db/test.db', isolation_level=None)",
        `db.execute('PRAGMA journal_mode = ${journal}')`,
        `db.execute('PRAGMA synchronous = ${synchronous}')`,
        "db.execute('CREATE TABLE t (n INTEGER)')",
        "for n in itertools.count(1):",
        "    db.execute('INSERT INTO t VALUES (?)', (n,))",
        "    print(n, flush=True)",
      ].join("\n");
      const process_ = writer.execStream("python3", ["-c", program]);
      process_.exit.catch(() => {});
      const [pid] = await driver.vmPids();
      let text = "";
      try {
        for await (const event of process_) {
          if (event.type === "output") text += event.data.toString();
          // In the middle of the next transaction.
          if (text.includes("\n20\n")) process.kill(pid!, "SIGKILL");
        }
      } catch {
        // The VM is gone, or about to.
      }
      await until(async () => (await driver.vmPids()).length === 0, "the VM is gone");
      const committed = Number(/(\d+)\n[^\n]*$/.exec(text)![1]);
      expect(committed).toBeGreaterThanOrEqual(20);
      await writer.remove({ force: true });
      const reader = await driver.create({ image: "msb/python", mounts });
      const check =
        "import sqlite3; db = sqlite3.connect('/db/test.db'); print(db.execute('PRAGMA integrity_check').fetchone()[0], " +
        "*db.execute('SELECT min(n), max(n), count(*) FROM t').fetchone())";
      const { stdout, stderr } = await reader.exec("python3", ["-c", check]);
      expect(stderr).toBe("");
      const [, low, high, count] = /^ok (\d+) (\d+) (\d+)\n$/.exec(stdout)!.map(Number);
      expect(low).toBe(1);
      expect(high).toBe(count);
      expect(high).toBeGreaterThanOrEqual(committed);
      await reader.remove({ force: true });
    },
  );
});
