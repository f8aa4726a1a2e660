import { afterAll, beforeAll, expect, test } from "vitest";
import { Sandbox, Snapshot, Volume } from "../src/sdk/index.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** Volumes of sandboxes whose state is stored: refused, or each child has its own. */

let driver: SandboxDriver;
let connection: SandboxDriver["connection"];
beforeAll(async () => {
  driver = await SandboxDriver.open("states-volumes");
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

test("volumes that it may write to are refused, or each child has copies of its own", async () => {
  await using parent = await driver.create({
    name: "holder",
    mounts: [{ type: "volume", name: "data", target: "/data" }],
  });
  await said(parent, "echo before > /data/file; sync");
  const refused = {
    code: "invalid_state",
    message: expect.stringContaining("'data'"),
    hint: expect.stringContaining("--volumes copy"),
  };
  await expect(parent.fork()).rejects.toMatchObject(refused);
  await expect(parent.snapshot()).rejects.toMatchObject(refused);
  // Written, and not on the volume yet: in the guest's memory.
  await said(parent, "echo in memory > /data/later");
  const children = await parent.fork({ count: 2, name: "heir", volumes: "copy" });
  for (const child of children) driver.explainFailureOf(child);
  await said(parent, "echo after > /data/file; sync");
  for (const child of children) {
    expect(await said(child, "cat /data/file /data/later; hostname > /data/own; sync; cat /data/own")).toBe(
      `before\nin memory\n${child.name}\n`,
    );
  }
  expect((await Volume.list({ connection })).map(({ name }) => name).sort()).toEqual([
    "data",
    "data-heir-1",
    "data-heir-2",
  ]);
  await msb("snapshot", "create", "holder", "held", "--volumes", "copy");
  await parent.remove({ force: true });
  await using later = await named(await msb("restore", "held", "--name", "later"));
  expect(await said(later, "cat /data/file /data/later; ls /data")).toContain("after\nin memory\n");
  await remove(...children);
  await Snapshot.get("held", { connection }).then((held) => held.remove());
  // None is anybody's any more, and the files on them are whole.
  await using reader = await driver.create({
    mounts: [{ type: "volume", name: "data-heir-2", target: "/data" }],
  });
  expect(await said(reader, "cat /data/own")).toBe("heir-2\n");
});
