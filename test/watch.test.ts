import { afterAll, beforeAll, expect, test } from "vitest";
import type { FileChange, FileChanges, Sandbox } from "../src/sdk/index.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** Changes of files in a real VM, told by its kernel. */

let driver: SandboxDriver;
beforeAll(async () => {
  driver = await SandboxDriver.open("watch");
});
afterAll(() => driver?.[Symbol.asyncDispose]());

const sh = async (sandbox: Sandbox, script: string) => {
  const { exitCode, stderr } = await sandbox.exec("sh", ["-ec", script]);
  expect([exitCode, stderr]).toEqual([0, ""]);
};

/** All up to and with the first that fits. */
async function upTo(changes: FileChanges, fits: (change: FileChange) => boolean): Promise<FileChange[]> {
  const seen: FileChange[] = [];
  for (;;) {
    const { done, value } = await changes.next();
    if (done === true) throw new Error(`it ended after ${JSON.stringify(seen.slice(-20))}`);
    seen.push(value);
    if (fits(value)) return seen;
  }
}

const line = ({ type, path, from, isFolder }: FileChange) =>
  `${type} ${path}${from === undefined ? "" : ` < ${from}`}${isFolder ? "/" : ""}`;

test("what happens to the image's files and to new ones is told, in order", async () => {
  await using sandbox = await driver.create();
  await sh(sandbox, "mkdir -p /root/w/old/node_modules");
  await using changes = await sandbox.files.watch("/root/w", { recursive: true, exclude: ["node_modules"] });
  await sandbox.files.write("/root/w/old/a", "text");
  await sandbox.files.write("/root/w/old/a", "new", { atomic: true });
  await sh(
    sandbox,
    "cd /root/w; : >old/node_modules/x; chmod 600 old/a; mv old new; mv new/a $(printf 'b\\377'); rm b*; : >end",
  );
  const seen = (await upTo(changes, ({ path }) => path === "end")).map(line);
  const partial = seen.find((text) => text.includes(".partial"))!.split(" ")[1]!;
  // How often a file that is written has changed depends on who looks when.
  const once = seen.filter((text, at) => text !== seen[at - 1] && text !== `modified ${partial}`);
  expect(once).toEqual([
    "created old/a",
    "modified old/a",
    `created ${partial}`,
    `attributes ${partial}`,
    `moved old/a < ${partial}`,
    "attributes old/a",
    "moved new < old/",
    "moved base64:Yv8= < new/a",
    "removed base64:Yv8=",
    "created end",
  ]);

  // The image's own folders and files, which the overlay has only below.
  await using etc = await sandbox.files.watch("/etc");
  await using passwd = await sandbox.files.watch("/etc/passwd");
  await sh(sandbox, "echo >>/etc/passwd");
  const told = (await upTo(etc, ({ type }) => type === "modified")).map(line);
  expect(told).toContain("modified passwd");
  expect((await upTo(passwd, ({ type }) => type === "modified")).map(line)).toContain("modified ");
});

test("nothing is lost in folders that are made quickly, however deep", async () => {
  await using sandbox = await driver.create();
  await sh(sandbox, "mkdir /root/w");
  await using changes = await sandbox.files.watch("/root/w", { recursive: true });
  const made = sh(
    sandbox,
    "cd /root/w; i=0; while [ $i -lt 60 ]; do mkdir -p $i/a/b/c; : >$i/a/b/c/f; : >$i/a/g; i=$((i+1)); done; : >end",
  );
  const created = new Set<string>();
  await upTo(changes, ({ type, path }) => {
    expect(type).not.toBe("overflow");
    if (type === "created") created.add(path);
    return path === "end";
  });
  await made;
  const wanted = Array.from({ length: 60 }, (_, i) =>
    ["", "/a", "/a/b", "/a/b/c", "/a/b/c/f", "/a/g"].map((rest) => `${i}${rest}`),
  );
  expect(wanted.flat().filter((path) => !created.has(path))).toEqual([]);
});

test("a reader who does not read is told that something was lost", async () => {
  await using sandbox = await driver.create();
  await sh(sandbox, "mkdir /root/w; echo 64 >/proc/sys/fs/inotify/max_queued_events");
  await using changes = await sandbox.files.watch("/root/w");
  // More than the way to the reader holds: a window of 1 MiB, and what sockets buffer.
  const name = "n".repeat(200);
  await sh(sandbox, `cd /root/w; i=0; while [ $i -lt 20000 ]; do : >${name}$i; i=$((i+1)); done`);
  const seen = await upTo(changes, ({ type }) => type === "overflow");
  expect(seen.length).toBeLessThan(20_000);
  await sh(sandbox, ": >/root/w/after");
  await upTo(changes, ({ path }) => path === "after");
});

test("what cannot be watched has a reason, and each end is said", async () => {
  await using sandbox = await driver.create();
  const { files } = sandbox;
  await expect(files.watch("/nowhere")).rejects.toMatchObject({
    code: "not_found",
    message: expect.stringContaining("/nowhere"),
  });
  await expect(files.watch("/proc")).rejects.toMatchObject({ code: "unsupported" });
  await sh(sandbox, "mkdir -p /root/w /root/many/a/b/c; echo 2 >/proc/sys/fs/inotify/max_user_watches");
  await expect(files.watch("/root/many", { recursive: true })).rejects.toMatchObject({
    code: "resource_exhausted",
    message: expect.stringContaining("max_user_watches"),
  });
  await sh(sandbox, "echo 8192 >/proc/sys/fs/inotify/max_user_watches");
  const gone = await files.watch("/root/w");
  await files.remove("/root/w");
  expect((await upTo(gone, () => true)).map(line)).toEqual(["removed /"]);
  expect((await gone.next()).done).toBe(true);

  // Each watch is a process of the agent's own; leaving the loop ends it.
  const left = await files.watch("/root");
  await sh(sandbox, ": >/root/one");
  for await (const { path } of left) if (path === "one") break;
  await expect
    .poll(
      async () =>
        (await sandbox.exec("sh", ["-c", "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c ^msb-watch"]))
          .stdout,
      {
        timeout: 30_000,
      },
    )
    .toBe("0\n");

  const stopped = await files.watch("/root");
  const last = stopped.next().then(
    () => "told",
    ({ code }) => code,
  );
  await sandbox.stop();
  expect(await last).toBe("unavailable");
});
