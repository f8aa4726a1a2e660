import { existsSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type MountInput, Sandbox } from "../src/sdk/index.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";

/** Folders of the host in a sandbox: both see what the other does, nothing leaves the folder, and a daemon's death loses nothing. */

let driver: SandboxDriver;
let base: string;
beforeAll(async () => {
  driver = await SandboxDriver.open("folders");
  base = `${driver.home}-host`;
  await mkdir(base, { recursive: true });
});
afterAll(async () => {
  await driver?.[Symbol.asyncDispose]();
  await rm(base, { recursive: true, force: true });
});

const sourceOf = async (name: string): Promise<string> => {
  const source = join(base, name);
  await mkdir(source);
  return source;
};

test("both sides see what the other does, and a process may work in it", async () => {
  const source = await sourceOf("both");
  await writeFile(join(source, "host"), "from the host\n");
  await symlink("/etc/hostname", join(source, "link"));
  const sandbox = await driver.create({
    name: "both",
    mounts: [{ type: "folder", source, target: "/srv/deep" }],
  });
  const first = await sandbox.exec("sh", ["-c", "pwd; cat host; cat link; echo from the guest > guest"], {
    workdir: "/srv/deep",
  });
  // A link is a text: what it means, it means in the guest.
  expect(first).toMatchObject({ stdout: "/srv/deep\nfrom the host\nboth\n", exitCode: 0 });
  expect(await readFile(join(source, "guest"), "utf8")).toBe("from the guest\n");
  await writeFile(join(source, "host"), "changed, and longer than before\n");
  await writeFile(join(source, "new"), "new\n");
  let seen = "";
  await until(async () => {
    seen = (await sandbox.shell("cat /srv/deep/host /srv/deep/new")).stdout;
    return seen === "changed, and longer than before\nnew\n";
  }, "the guest sees the host's change");
  // A program of the folder, and one that is not there: told as by a shell.
  await writeFile(join(source, "program"), "#!/bin/sh\necho program $1\n");
  await chmod(join(source, "program"), 0o755);
  expect((await sandbox.exec("/srv/deep/program", ["x"])).stdout).toBe("program x\n");
  expect(await sandbox.exec("no-such")).toMatchObject({
    exitCode: 127,
    stderr: "command not found: no-such\n",
  });
  // Limits hold in it as elsewhere, also those that only root may raise.
  const rlimits = { nofile: { soft: 100, hard: 200 }, memlock: { soft: 2 ** 30, hard: 2 ** 30 } };
  for (const user of ["root", "4242:4343"]) {
    const { stdout } = await sandbox.shell("ulimit -n; ulimit -Hn; ulimit -l; id -u", { rlimits, user });
    expect(stdout).toBe(`100\n200\n1048576\n${user === "root" ? 0 : 4242}\n`);
  }
  await sandbox.stop();
  await sandbox.start();
  expect((await sandbox.shell("cat /srv/deep/guest")).stdout).toBe("from the guest\n");
  await sandbox.remove({ force: true });
});

test("what a file system must do, it does, but for what docs/folders.md lists", async () => {
  const source = await sourceOf("checks");
  const sandbox = await driver.create({ mounts: [{ type: "folder", source, target: "/srv" }] });
  const holds = [
    'echo a > f && echo b >> f && [ "$(cat f)" = "$(printf \'a\\nb\')" ]',
    "printf 12345678 > t && : > t && [ ! -s t ]",
    "truncate -s 100000 s && [ $(stat -c %s s) = 100000 ] && [ $(stat -c %b s) -lt 100 ]",
    "dd if=/dev/zero of=h bs=1 count=1 seek=1000000 2>&- && [ $(stat -c %s h) = 1000001 ]",
    "mkdir d && [ -d d ] && rmdir d && [ ! -e d ]",
    "mkdir n && touch n/x && ! rmdir n && rm -r n",
    "touch a && mv a b && [ ! -e a ] && [ -e b ]",
    'touch o1 o2 && echo new > o1 && mv o1 o2 && [ "$(cat o2)" = new ]',
    "mkdir m1 m2 && mv m1 m2/ && [ -d m2/m1 ]",
    "mkdir p && touch p/q && ! mv -T m2 p",
    "ln b hard && until [ $(stat -c %h b) = 2 ]; do :; done && [ $(stat -c %i b) = $(stat -c %i hard) ]",
    'ln -s nowhere soft && [ "$(readlink soft)" = nowhere ] && [ ! -e soft ]',
    "touch c && chmod 640 c && [ $(stat -c %a c) = 640 ]",
    "mkdir st && chmod 1777 st && [ $(stat -c %a st) = 1777 ]",
    "touch -d '2001-02-03 04:05:06' tm && [ \"$(stat -c %y tm | cut -c1-19)\" = '2001-02-03 04:05:06' ]",
    "chown 0:0 c",
    "(umask 077 && touch um) && [ $(stat -c %a um) = 600 ]",
    // Unlinked and still open.
    "exec 3<>u && echo x >&3 && rm u && echo y >&3 && [ ! -e u ] && exec 3>&-",
    "! mkdir $(printf '%0300d' 0)",
    "touch \"$(printf '%0255d' 0)\"",
    "touch 'a b' \"$(printf 'x\\377y')\" && [ $(ls | grep -c 'a b') = 1 ]",
    "set -o noclobber; echo 1 > excl && ! (echo 2 > excl)",
    "sync",
  ];
  const differs = [
    "mkfifo fifo",
    "mknod dev c 1 3",
    "chown 7:7 c",
    "chmod 4755 c && [ $(stat -c %a c) = 4755 ]",
  ];
  const failed: string[] = [];
  for (const check of [...holds, ...differs]) {
    const { exitCode } = await sandbox.exec("sh", ["-c", check], { workdir: "/srv" });
    if (exitCode !== 0) failed.push(check);
  }
  expect(failed).toEqual(differs);
  await sandbox.remove({ force: true });
});

test("400 files read equal, and a tree that was copied is the same", async () => {
  const source = await sourceOf("tree");
  for (let d = 0; d < 20; d++) {
    await mkdir(join(source, `tree/${d}`), { recursive: true });
    for (let f = 0; f < 20; f++) await writeFile(join(source, `tree/${d}/${f}`), `${d} and ${f}\n`);
  }
  const sandbox = await driver.create({ mounts: [{ type: "folder", source, target: "/srv" }] });
  const { stdout } = await sandbox.shell("cd /srv/tree && find . -type f | wc -l && cat */* | wc -c", {
    timeoutMs: 240_000,
  });
  let bytes = 0;
  for (let d = 0; d < 20; d++) for (let f = 0; f < 20; f++) bytes += `${d} and ${f}\n`.length;
  expect(stdout.trim().split(/\s+/).map(Number)).toEqual([400, bytes]);
  await sandbox.shell("mkdir /srv/copy && cd /srv/tree && cp -a 1? /srv/copy/", { timeoutMs: 240_000 });
  for (let d = 10; d < 20; d++) {
    expect((await readdir(join(source, `copy/${d}`))).length).toBe(20);
    for (let f = 0; f < 20; f++) {
      const [copy, original] = [join(source, `copy/${d}/${f}`), join(source, `tree/${d}/${f}`)];
      expect(await readFile(copy, "utf8")).toBe(`${d} and ${f}\n`);
      expect(Math.abs((await stat(copy)).mtimeMs - (await stat(original)).mtimeMs)).toBeLessThan(1_000); // busybox copies whole seconds
    }
  }
  await sandbox.remove({ force: true });
}, 600_000);

test("SQLite and shared memory maps work on it", async () => {
  await driver.importImage("python");
  const source = await sourceOf("sqlite");
  const sandbox = await driver.create({
    image: "msb/python",
    mounts: [{ type: "folder", source, target: "/srv" }],
  });
  const program = `
import mmap, sqlite3
db = sqlite3.connect("/srv/db")
db.execute("create table t (n integer)")
for i in range(50):
    with db: db.executemany("insert into t values (?)", [(i * 10 + j,) for j in range(10)])
print(db.execute("select count(*), sum(n) from t").fetchone(), db.execute("pragma integrity_check").fetchone())
with open("/srv/map", "w+b") as f:
    f.truncate(8192)
    with mmap.mmap(f.fileno(), 8192) as m:
        m[5000:5005] = b"hello"
        m.flush()
`;
  const { stdout, stderr } = await sandbox.exec("python3", ["-"], { stdin: program });
  expect({ stdout, stderr }).toEqual({ stdout: "(500, 124750) ('ok',)\n", stderr: "" });
  expect((await readFile(join(source, "map"))).subarray(5000, 5005).toString()).toBe("hello");
  await sandbox.remove({ force: true });
});

test("a daemon that is killed in the middle of writing loses nothing", async () => {
  const source = await sourceOf("crash");
  const sandbox = await driver.create({
    name: "crash",
    mounts: [{ type: "folder", source, target: "/srv" }],
  });
  const script =
    "cd /srv; exec 3>>open; i=0; while [ $i -lt 250 ]; do i=$((i+1)); echo line $i >> log || echo failed >&2; echo $i >&3; " +
    "mkdir d$i && mv d$i e$i && rmdir e$i || echo failed $i >> failures; done; echo done > done";
  await sandbox.processes.start("sh", ["-c", script]);
  for (let kill = 1; kill <= 3; kill++) {
    const lines = async () =>
      (await readFile(join(source, "log"), "utf8").catch(() => "")).split("\n").length;
    const before = await lines();
    await until(async () => (await lines()) > before + 20, "it writes");
    expect(existsSync(join(source, "done"))).toBe(false);
    await driver.killDaemon();
    await Sandbox.list({ connection: driver.connection });
  }
  await until(() => existsSync(join(source, "done")), "it has written all");
  const numbers = Array.from({ length: 250 }, (_, i) => i + 1);
  expect(await readFile(join(source, "log"), "utf8")).toBe(numbers.map((n) => `line ${n}\n`).join(""));
  expect(await readFile(join(source, "open"), "utf8")).toBe(numbers.map((n) => `${n}\n`).join(""));
  expect((await readdir(source)).sort()).toEqual(["done", "log", "open"]);
  // And it stops as any other.
  const again = await Sandbox.get("crash", { connection: driver.connection });
  await again.stop();
  expect(again.info.state).toBe("stopped");
  await again.remove();
});

test("read-only, owner and quota are as asked for, on the command line too", async () => {
  const source = await sourceOf("options");
  await writeFile(join(source, "f"), "f\n");
  const run = await driver.msb([
    ...["run", "--volume", `${source}:/ro:ro,uid=12,gid=34`, "msb/base"],
    ...["sh", "-c", "stat -c '%u %g' /ro/f; echo x > /ro/f"],
  ]);
  expect(run).toMatchObject({ code: 1, stdout: "12 34\n", stderr: expect.stringMatching(/Read-only/) });
  const sandbox = await driver.create({
    mounts: [{ type: "folder", source, target: "/srv", quotaMiB: 2 }],
  });
  const full = await sandbox.shell("dd if=/dev/zero of=/srv/big bs=64k count=64");
  expect(full.stderr).toMatch(/quota|No space/i);
  expect((await stat(join(source, "big"))).size).toBeLessThanOrEqual(2 * 1024 * 1024);
  await sandbox.remove({ force: true });
});

test("what cannot be mounted is refused before anything starts", async () => {
  const source = await sourceOf("refused");
  await writeFile(join(source, "file"), "");
  const refused = (mounts: MountInput[]) => expect(driver.create({ name: "refused", mounts })).rejects;
  const folder = (from: string) => [{ type: "folder" as const, source: from, target: "/srv" }];
  await refused(folder(join(source, "missing"))).toMatchObject({ code: "not_found" });
  await refused(folder(join(source, "file"))).toMatchObject({ code: "invalid_argument" });
  for (const own of [driver.home, join(driver.home, "run"), "/"])
    await refused(folder(own)).toMatchObject({ code: "permission_denied" });
  await symlink(driver.home, join(source, "home"));
  await refused(folder(join(source, "home"))).toMatchObject({ code: "permission_denied" });
  await refused([...folder(source), { type: "tmpfs", target: "/srv/tmp" }]).toMatchObject({
    code: "unsupported",
  });
  const policy = join(driver.home, "mounts.json");
  await writeFile(policy, JSON.stringify({ folders: { [source]: { allow: false } } }));
  await refused(folder(source)).toMatchObject({
    code: "permission_denied",
    hint: expect.stringContaining("mounts.json"),
  });
  await writeFile(policy, "{");
  await refused(folder(source)).toMatchObject({ code: "invalid_argument" });
  await rm(policy);
  expect(await driver.vmPids()).toEqual([]);
});
