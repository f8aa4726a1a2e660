import { once } from "node:events";
import { chmod, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { Sandbox, Snapshot } from "../src/sdk/index.ts";
import { storeSandbox } from "../src/sdk/store-sandbox.ts";
import { COUNT, countsOn } from "./counter.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";

/** Snapshots, restored sandboxes and forks: what goes on in them, and what each has for itself. */

let driver: SandboxDriver;
let connection: SandboxDriver["connection"];
beforeAll(async () => {
  driver = await SandboxDriver.open("states");
  connection = driver.connection;
});
afterAll(() => driver?.[Symbol.asyncDispose]());

const said = async (sandbox: Sandbox, command: string) => (await sandbox.shell(command)).stdout;
const msb = async (...args: string[]) => {
  const { code, stdout, stderr } = await driver.msb(args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout.trim();
};
const named = async (name: string) => {
  const sandbox = await Sandbox.get(name, { connection });
  driver.explainFailureOf(sandbox);
  return sandbox;
};
const remove = async (...sandboxes: Sandbox[]) => {
  for (const sandbox of sandboxes) await sandbox.remove({ force: true });
};

test("a restored sandbox goes on with processes, files, tmpfs and what was not written yet", async () => {
  await using parent = await driver.create({ name: "parent", command: ["sh", "-c", COUNT] });
  await said(parent, "echo mine > /root/file; echo shared > /dev/shm/file");
  const process = await parent.processes.start("sh", [
    "-c",
    "echo first; until [ -e /dev/shm/go ]; do usleep 20000; done; echo second; exit 7",
  ]);
  const number = process.info.process;
  await countsOn(parent);
  expect(await msb("snapshot", "create", "parent")).toBe("parent-1");
  const snapshot = await Snapshot.get("parent-1", { connection });
  expect(snapshot.info).toMatchObject({
    kind: "running",
    sandbox: { name: "parent" },
    processes: 2,
    generation: 0,
  });
  await countsOn(parent);

  expect(await msb("restore", "parent-1", "--name", "again")).toBe("again");
  await using again = await named("again");
  expect(await said(again, "cat /root/file /dev/shm/file; hostname; cat /run/microsandbox/generation")).toBe(
    "mine\nshared\nagain\n1\n",
  );
  await countsOn(again);
  const theirs = await again.processes.get(number);
  expect(theirs.info.state).toBe("running");
  await said(again, "touch /dev/shm/go");
  expect(await theirs.wait()).toMatchObject({ state: "ended", exit: { exitCode: 7 } });
  const log = await Array.fromAsync(again.logs({ processes: [number] }));
  // What the guest kept of its output, whether or not the parent's log has it too.
  expect(log.map(({ text }) => text).join("")).toMatch(/^(first\n)?second\n$/);
  // What is written in one is not in the other.
  await said(again, "echo theirs > /root/file");
  expect(await said(parent, "cat /root/file; ls /dev/shm/go 2>/dev/null || echo none")).toBe("mine\nnone\n");
  expect((await parent.processes.get(number)).info.state).toBe("running");
  await snapshot.remove();
});

test("output that nobody had taken is read in the children, and by the parent once", async () => {
  await using parent = await driver.create({ name: "full" });
  const stop = "until [ -e /dev/shm/go ]; do usleep 20000; done";
  // More than the guest keeps and the host takes at once: it stands in the middle of its writing.
  const process = await parent.processes.start("sh", ["-c", `${stop}; seq 1 200000; echo END`]);
  const number = process.info.process;
  await said(parent, "touch /dev/shm/go");
  const [child] = await parent.fork({ name: "full-child" });
  driver.explainFailureOf(child!);
  const written = async (sandbox: Sandbox) => {
    const its = await sandbox.processes.get(number);
    await its.wait();
    const log = await Array.fromAsync(sandbox.logs({ processes: [number] }));
    return log.map(({ text }) => text ?? "").join("");
  };
  const whole = `${Array.from({ length: 200_000 }, (_, i) => i + 1).join("\n")}\nEND\n`;
  expect(await written(parent)).toBe(whole);
  // What the parent's log had by then is the parent's; the rest follows it without a gap.
  expect(whole.endsWith(await written(child!))).toBe(true);
  expect(await written(child!)).toMatch(/END\n$/);
  await remove(child!);
});

test("a fork's connections are reset, the parent's stay", async () => {
  const heard = new Map<Socket, number>();
  const server = createServer((socket) => {
    heard.set(socket, 0);
    socket.on("data", (data) => heard.set(socket, heard.get(socket)! + data.length)).on("error", () => {});
  }).listen(0, "127.0.0.1");
  onTestFinished(() => {
    for (const socket of heard.keys()) socket.destroy();
    server.close();
  });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await using parent = await driver.create({
    name: "caller",
    network: { rules: [`allow egress host tcp:${port}`] },
  });
  const host = "host.microsandbox.internal";
  const connected = once(server, "connection");
  await parent.processes.start("sh", [
    "-c",
    `(while :; do echo tick || exit; usleep 50000; done) | nc ${host} ${port}; echo $? > /dev/shm/over`,
  ]);
  const [socket] = (await connected) as [Socket];
  const [child] = await parent.fork({ name: "called" });
  driver.explainFailureOf(child!);
  await until(
    async () => (await said(child!, "cat /dev/shm/over 2>/dev/null || true")) !== "",
    "it is reset",
  );
  const before = heard.get(socket)!;
  await until(() => heard.get(socket)! > before + 20, "the parent's goes on");
  expect(await said(parent, "ls /dev/shm/over 2>/dev/null || echo none")).toBe("none\n");
  expect(heard.size).toBe(1);
  // A new one of the child's is its own.
  expect(await said(child!, `echo hello | nc -w 2 ${host} ${port}; echo sent`)).toBe("sent\n");
  expect(heard.size).toBe(2);
  await remove(child!);
});

test("a folder of the host is attached again, with the files that are open in it", async () => {
  const source = await mkdtemp(join(tmpdir(), "msb-states-"));
  onTestFinished(() => rm(source, { recursive: true, force: true }));
  await writeFile(join(source, "there"), "of the host\n");
  await using parent = await driver.create({
    name: "mounted",
    mounts: [{ type: "folder", source, target: "/srv" }],
  });
  await parent.processes.start("sh", [
    "-c",
    `exec 3>> /srv/of-mounted-1 4>> /srv/of-mounted-2; echo >/srv/opened
    until [ -e /dev/shm/go ]; do usleep 20000; done
    case $(hostname) in mounted-1) hostname >&3;; mounted-2) hostname >&4;; esac; sleep 1000`,
  ]);
  await until(async () => (await readdir(source)).includes("opened"), "it has opened its files");
  const children = await parent.fork({ count: 2, name: "mounted" });
  for (const child of children) {
    driver.explainFailureOf(child);
    expect(await said(child, "cat /srv/there; hostname > /srv/$(hostname)")).toBe("of the host\n");
    await said(child, "touch /dev/shm/go");
  }
  for (const { name } of children) {
    const written = async () => await readFile(join(source, `of-${name}`), "utf8");
    await until(async () => (await written()) !== "", `${name} has written`);
    expect(await written()).toBe(`${name}\n`);
  }
  expect(await readFile(join(source, "mounted-2"), "utf8")).toBe("mounted-2\n");
  expect(await said(parent, "cat /srv/mounted-1")).toBe("mounted-1\n");
  await remove(...children);
});

test("six generations, each made of the last, stand when all that they came of is gone", async () => {
  let sandbox = await driver.create({ name: "g0", command: ["sh", "-c", COUNT] });
  let past: Snapshot | undefined;
  for (let n = 1; n <= 6; n++) {
    await said(
      sandbox,
      `echo ${n} >> /root/list; dd if=/dev/urandom of=/dev/shm/r${n} bs=64k count=16 2>/dev/null`,
    );
    const sums = await said(sandbox, "cd /dev/shm; sha256sum r*; cat /root/list");
    const snapshot: Snapshot = await sandbox.snapshot({ name: `s${n}` });
    expect(snapshot.info).toMatchObject({ generation: n - 1, ...(past && { parent: past.id }) });
    await sandbox.remove({ force: true });
    await past?.remove();
    [sandbox] = (await snapshot.restore({ name: `g${n}` })) as [Sandbox];
    driver.explainFailureOf(sandbox);
    expect(await said(sandbox, "cd /dev/shm; sha256sum r*; cat /root/list")).toBe(sums);
    past = snapshot;
  }
  await countsOn(sandbox);
  await past!.verify();
  const levels = (await driver.files(`states/${past!.id}/delta`)).filter((name) => name.endsWith(".pages"));
  expect(levels.length).toBeLessThanOrEqual(4);
  expect(await said(sandbox, "cat /run/microsandbox/generation")).toBe("6\n");
  await past!.remove();
  expect(await driver.files("states")).toEqual([]);
  await countsOn(sandbox);
  await remove(sandbox);
});

test("of one that is stopped, its files; of one that is paused or suspended, all of it", async () => {
  const box = await driver.create({ name: "box", command: ["sh", "-c", COUNT] });
  await countsOn(box);
  await said(box, "echo kept > /root/file");
  await box.pause();
  const paused = await box.snapshot({ name: "paused" });
  expect((await box.inspect()).state).toBe("paused");
  await box.suspend();
  const suspended = await box.snapshot({ name: "suspended" });
  await box.stop();
  const stopped = await box.snapshot({ name: "stopped" });
  expect((await box.inspect()).state).toBe("stopped");
  const prepared = { image: box.info.image, digest: box.info.imageDigest, run: "echo kept > /root/file" };
  const image = await storeSandbox(connection, box.id, { name: "image", prepared }, {});
  expect(image).toMatchObject({ kind: "stopped", prepared });
  await Snapshot.remove("image", { connection });
  expect([paused, suspended, stopped].map(({ info }) => info.kind)).toEqual([
    "running",
    "running",
    "stopped",
  ]);
  await expect(box.fork()).rejects.toMatchObject({ code: "invalid_state" });
  await remove(box);
  for (const snapshot of [paused, suspended, stopped]) {
    const [child] = (await snapshot.restore()) as [Sandbox];
    driver.explainFailureOf(child);
    expect(await said(child, "cat /root/file")).toBe("kept\n");
    await countsOn(child);
    await remove(child);
    await snapshot.remove();
  }
});

test("a byte that is another in any of its files is found before anything runs, and named", async () => {
  const box = await driver.create({ name: "whole" });
  const [first] = await (await box.snapshot({ name: "below" })).restore({ name: "second" });
  // With a level of memory and of disk that it has from the other.
  const snapshot = await first!.snapshot({ name: "fragile" });
  await remove(box, first!);
  const folder = join(driver.home, "states", snapshot.id);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  expect(files.length).toBeGreaterThanOrEqual(10);
  for (const path of files) {
    const name = path.slice(folder.length + 1);
    const { size, mode } = await stat(path);
    await chmod(path, 0o600);
    const flip = async () => {
      await using file = await open(path, "r+");
      const at = Math.floor(size / 2);
      const { buffer } = await file.read(Buffer.alloc(1), 0, 1, at);
      await file.write(Buffer.from([buffer[0]! ^ 1]), 0, 1, at);
    };
    await flip();
    const error = await snapshot.restore().catch((thrown) => thrown);
    expect(error, name).toMatchObject({ code: "internal", message: expect.stringContaining(name) });
    expect(await driver.vmPids(), name).toEqual([]);
    await flip();
    await chmod(path, mode);
  }
  expect(await driver.files("sandboxes")).toEqual([]);
  // It is whole again.
  const [child] = await snapshot.restore();
  expect(await said(child!, "echo fine")).toBe("fine\n");
  await remove(child!);
  await snapshot.remove();
  await (await Snapshot.get("below", { connection })).remove();
});
