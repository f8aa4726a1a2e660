import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Sandbox, Snapshot } from "../src/sdk/index.ts";
import { BASE_IMAGE, SandboxDriver } from "./sandbox-driver.ts";

/** Images that are prepared: what is in memory is there from the start of every sandbox. */
describe("a prepared image", () => {
  let driver: SandboxDriver;
  beforeAll(async () => {
    driver = await SandboxDriver.open("prepare");
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  // A server that takes its time, and keeps what it serves in memory only.
  const run =
    "mkdir /dev/shm/www; echo from memory > /dev/shm/www/it; usleep 300000; exec httpd -f -p 8000 -h /dev/shm/www";
  const get = "wget -q -O - http://127.0.0.1:8000/it";

  test("begins with its server up, each sandbox as one of its own", async () => {
    const { connection } = driver;
    const made = await driver.msb(["prepare", BASE_IMAGE, "--run", run, "--ready", get, "--as", "served"]);
    expect(made).toMatchObject({ code: 0, stdout: "served\n" });
    expect((await Snapshot.get("served", { connection })).info).toMatchObject({
      kind: "running",
      prepared: { image: BASE_IMAGE, run, ready: get },
    });
    expect(await driver.msb(["run", "served", "--", "sh", "-c", get])).toMatchObject({
      code: 0,
      stdout: "from memory\n",
    });
    await using one = await Sandbox.create({ image: "served", env: { MORE: "1" }, connection });
    await using other = await Sandbox.create({ image: "served", name: "other", connection });
    const identity = "hostname; cat /etc/machine-id; head -c 16 /dev/urandom | od -An -tx1";
    const [a, b] = await Promise.all(
      [one, other].map(async (each) => (await each.shell(identity)).stdout.split("\n")),
    );
    expect(b![0]).toBe("other");
    for (const at of [0, 1, 2]) expect(a![at]).not.toBe(b![at]);
    expect((await one.shell(`${get}; echo $MORE`)).stdout).toBe("from memory\n1\n");
    // Nothing of the making is left but what was asked for.
    expect((await Sandbox.list({ connection })).map(({ name }) => name).sort()).toEqual(
      [one.name, "other"].sort(),
    );
  });

  test("can stand on another, and is made again when that one was", async () => {
    const { connection } = driver;
    const below = { as: "below", image: BASE_IMAGE, run: "echo below > /dev/shm/it", connection };
    const above = { as: "above", image: "below", run: "echo above >> /dev/shm/it", connection };
    await Snapshot.prepare(below);
    const first = await Snapshot.prepare(above);
    expect((await Snapshot.prepare(above)).id).toBe(first.id);
    await using sandbox = await Sandbox.create({ image: "above", connection });
    expect((await sandbox.shell("cat /dev/shm/it")).stdout).toBe("below\nabove\n");
    await Snapshot.prepare({ ...below, force: true });
    expect((await Snapshot.prepare(above)).id).not.toBe(first.id);
  });

  test("is the main command's place, which ends the sandbox when it ends", async () => {
    const { connection } = driver;
    await Snapshot.prepare({ as: "counted", image: BASE_IMAGE, run: "echo 42 > /root/it", connection });
    const ran = await driver.msb([
      "run",
      "--detach",
      "--name",
      "main",
      "counted",
      "--",
      "sh",
      "-c",
      "cat /root/it; exit 3",
    ]);
    expect(ran).toMatchObject({ code: 0, stdout: "main\n" });
    const logged: string[] = [];
    const sandbox = await Sandbox.get("main", { connection });
    for await (const { text } of sandbox.logs({ follow: true })) {
      logged.push(text ?? "");
      if (logged.join("").includes("\n")) break;
    }
    expect(logged.join("")).toBe("42\n");
    await driver.msb(["rm", "--force", "main"]);
  });
});
