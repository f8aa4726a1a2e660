import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MAX_INLINE_BYTES } from "../src/contract/index.ts";
import { Sandbox } from "../src/sdk/index.ts";
import { BASE_IMAGE, SandboxDriver } from "./sandbox-driver.ts";

/** Files that a spec brings along: there before the first process, once, and told to nobody. */

let driver: SandboxDriver;
beforeAll(async () => {
  driver = await SandboxDriver.open("inline");
});
afterAll(() => driver?.[Symbol.asyncDispose]());

test("they are there for the first process, and stay what became of them", async () => {
  await using sandbox = await driver.create({
    command: ["sh", "-c", "/opt/app/start; sleep 1000"],
    mounts: [{ type: "tmpfs", target: "/run/app" }],
    files: [
      { path: "/opt/app/start", text: "#!/bin/sh\ncp /run/app/conf /root/seen\n", mode: 0o755 },
      { path: "/run/app/conf", base64: Buffer.from("secret\xff", "latin1").toString("base64"), mode: 0o600 },
      { path: "/etc/owned", text: "", owner: "1000:2000" },
    ],
  });
  const seen = async () => (await sandbox.files.read("/root/seen")).toString("latin1");
  await expect.poll(() => sandbox.files.exists("/root/seen"), { timeout: 10_000 }).toBe(true);
  expect(await seen()).toBe("secret\xff");
  const { stdout } = await sandbox.shell(
    "stat -c '%a %u:%g' /opt/app /opt/app/start /run/app/conf /etc/owned",
  );
  expect(stdout).toBe("755 0:0\n755 0:0\n600 0:0\n644 1000:2000\n");
  const { spec } = (await Sandbox.get(sandbox.name, { connection: driver.connection })).info;
  expect(spec.files[1]).toEqual({ path: "/run/app/conf", mode: 0o600, bytes: 7 });
  // Once: what the sandbox made of them stays.
  await sandbox.files.write("/opt/app/start", "#!/bin/sh\nsleep 1000\n");
  await sandbox.stop();
  await sandbox.start();
  expect(await sandbox.files.readText("/opt/app/start")).toBe("#!/bin/sh\nsleep 1000\n");
  expect(await sandbox.files.exists("/run/app/conf")).toBe(false);
});

test("what cannot be put in place fails the start, and leaves nothing", async () => {
  const refused = (path: string, owner?: string) =>
    expect(driver.create({ name: "refused", files: [{ path, text: "", owner }] })).rejects;
  await refused("/etc/x", "no-such-user").toMatchObject({ message: expect.stringContaining("no-such-user") });
  await refused("/etc/passwd/x").toMatchObject({ message: expect.stringContaining("/etc/passwd") });
  await refused("/etc").toMatchObject({ message: expect.stringContaining("/etc") });
  expect(await driver.vmPids()).toEqual([]);
  await expect(Sandbox.get("refused", { connection: driver.connection })).rejects.toMatchObject({
    code: "not_found",
  });
});

test("msb run --file takes a text or a file, as large as it may be", async () => {
  const source = join(driver.home, "source");
  await writeFile(source, Buffer.alloc(MAX_INLINE_BYTES - 5, 0xfe));
  const { code, stdout } = await driver.msb([
    ...["run", "--file", "/etc/motd=hello", "--file", `/srv/data=@${source}`],
    ...[BASE_IMAGE, "--", "sh", "-c", "cat /etc/motd; wc -c < /srv/data"],
  ]);
  expect({ code, stdout }).toEqual({ code: 0, stdout: `hello${MAX_INLINE_BYTES - 5}\n` });
  await writeFile(source, await readFile(source).then((bytes) => Buffer.concat([bytes, bytes])));
  const large = await driver.msb(["run", "--file", `/srv/data=@${source}`, BASE_IMAGE, "true"]);
  expect(large).toMatchObject({ code: 125, stderr: expect.stringContaining("bytes, 524288 are allowed") });
  const missing = await driver.msb(["run", "--file", "/srv/data=@/no/such", BASE_IMAGE, "true"]);
  expect(missing).toMatchObject({
    code: 125,
    stderr: expect.stringContaining("there is no file '/no/such'"),
  });
});
