import { createReadStream } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CreateOptions, Sandbox } from "../src/sdk/index.ts";
import { buildGoProgram, type GoProgram } from "./go-program.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** Sandboxes of one group reach each other by name, and nobody else does. */

let driver: SandboxDriver;
let probe: GoProgram;
let web: Sandbox;
let db: Sandbox;

beforeAll(async () => {
  driver = await SandboxDriver.open("groups");
  probe = await buildGoProgram("net-probe");
  web = await create("web", { group: "shop" });
  db = await create("db", { group: "shop" });
  await serve(db);
});
afterAll(async () => {
  await driver?.[Symbol.asyncDispose]();
  await probe?.[Symbol.asyncDispose]();
});

async function create(name: string, network: CreateOptions["network"]): Promise<Sandbox> {
  const sandbox = await driver.create({ name, network });
  await sandbox.files.write("/probe", createReadStream(probe.path), { mode: 0o755 });
  return sandbox;
}

/** Starts the probe's echo servers and a web server, and waits for them. */
async function serve(sandbox: Sandbox): Promise<void> {
  const start = (kind: string) => `/probe ${kind}-echo 7000 >/tmp/${kind} 2>&1 </dev/null &`;
  const ready = (kind: string) => `until grep -q listening /tmp/${kind}; do sleep 0.05; done`;
  await shell(sandbox, `${start("tcp")} ${start("udp")} ${ready("tcp")}; ${ready("udp")}`);
  await shell(sandbox, "mkdir -p /www; echo hello from $(hostname) >/www/index.html; httpd -p 80 -h /www");
}

const shell = async (sandbox: Sandbox, script: string) => (await sandbox.shell(script)).stdout;

test("members reach each other by both names and in both families, over TCP and UDP", async () => {
  const [v4, v6] = web.info.groupAddresses!;
  expect(web.info.spec.network).toMatchObject({ scope: "group", group: "shop" });
  for (const name of ["db", "db.group.internal"]) {
    expect(await shell(web, `wget -q -O - http://${name}/`)).toBe("hello from db\n");
    expect(await shell(web, `echo hi | nc -w 5 ${name} 7000`)).toMatch(/ said hi\n$/);
    expect(await shell(web, `/probe udp ${name}:7000 hi`)).toMatch(/ said hi\n$/);
  }
  for (const [own, address] of [
    [v4, db.info.groupAddresses![0]],
    [v6, `[${db.info.groupAddresses![1]}]`],
  ]) {
    expect(await shell(web, `/probe tcp ${address}:7000 hi`)).toBe(`${own} said hi\n`);
    expect(await shell(web, `/probe udp ${address}:7000 hi`)).toBe(`${own} said hi\n`);
  }
  expect(await shell(web, "ping -c 1 db >/dev/null && echo there")).toBe("there\n");
  const both = { kind: "connection", protocol: "tcp", port: 80, allowed: true, rule: "scope group" };
  const logOf = (sandbox: Sandbox) => Array.fromAsync(sandbox.network.log());
  await expect
    .poll(() => logOf(web))
    .toContainEqual(expect.objectContaining({ ...both, direction: "egress", name: "db" }));
  await expect
    .poll(() => logOf(db))
    .toContainEqual(expect.objectContaining({ ...both, direction: "ingress", name: "web" }));
});

test("a sandbox reaches itself by its name, and a group is no way out", async () => {
  expect(await shell(db, "wget -q -O - http://db/; wget -q -O - http://db.group.internal/")).toBe(
    "hello from db\n".repeat(2),
  );
  expect(await shell(web, "/probe dial tcp 93.184.216.34:443")).toMatch(/refused.* at once: true/);
});

test("those of another group and of none find nobody", async () => {
  await using far = await create("far", { group: "other", rules: ["allow egress any"] });
  await using lone = await create("lone", { scope: "public" });
  const address = db.info.groupAddresses![0]!;
  // Groups have the same addresses: what is the other's first is its own here.
  expect(far.info.groupAddresses).toEqual(web.info.groupAddresses);
  for (const stranger of [far, lone]) {
    for (const name of ["db", "db.group.internal"])
      expect(await shell(stranger, `/probe addresses ${name}`)).toContain("no such host");
    for (const protocol of ["tcp", "udp"])
      for (const target of [`${address}:7000`, `[${db.info.groupAddresses![1]}]:7000`])
        expect(await shell(stranger, `/probe dial ${protocol} '${target}'`)).toMatch(
          /(refused|no route|denied|unreachable).* at once: true/,
        );
  }
  expect(await shell(web, "/probe addresses far lone")).toContain("no such host");
});

describe("rules of the callee", () => {
  test("decide too, while it runs", async () => {
    const rule = "deny ingress group tcp:7000";
    const held = await web.processes.start("sh", ["-c", "(echo held; sleep 1000) | nc db 7000; echo closed"]);
    let seen = "";
    for await (const event of held.attach()) {
      if (event.type === "output") seen += event.data;
      if (seen.endsWith("said held\n")) break;
    }
    expect(seen).toMatch(/ said held\n$/);
    await db.network.update({ rules: [rule] });
    try {
      expect(await shell(web, "/probe dial tcp db:7000")).toMatch(/refused/);
      expect(await shell(web, "/probe udp db:7000 hi")).toMatch(/ said hi\n$/);
      expect(await web.network.test({ host: "db", port: 7000 })).toMatchObject({
        addresses: [{ allowed: false, rule, reason: expect.stringContaining("db does not let it in") }, {}],
      });
      await expect
        .poll(() => Array.fromAsync(db.network.log()))
        .toContainEqual(expect.objectContaining({ direction: "ingress", allowed: false, rule, bytesIn: 5 }));
    } finally {
      await db.network.update({ rules: [] });
      await held.signal("KILL", { scope: "tree" });
    }
    expect(await shell(web, "/probe tcp db:7000 hi")).toMatch(/ said hi\n$/);
  });
});

test("a group outlives the daemon, and a member that was stopped comes back to its place", async () => {
  await driver.killDaemon();
  web = await Sandbox.get("web", { connection: driver.connection });
  db = await Sandbox.get("db", { connection: driver.connection });
  expect(await shell(web, "wget -q -O - http://db/")).toBe("hello from db\n");
  const before = db.info.groupAddresses;
  await db.stop();
  expect(await shell(web, "/probe addresses db")).toContain("no such host");
  expect(await shell(web, `/probe dial tcp ${before![0]}:7000`)).toMatch(/no route/);
  await db.start();
  await serve(db);
  expect((await Sandbox.get("db", { connection: driver.connection })).info.groupAddresses).toEqual(before);
  expect(await shell(web, "/probe tcp db:7000 hi")).toBe(`${web.info.groupAddresses![0]} said hi\n`);
});

test("`msb` puts sandboxes into groups and shows them", async () => {
  const made = await driver.msb(["create", "--name", "cache", "--group", "shop", "msb/base"]);
  expect(made).toMatchObject({ code: 0, stderr: "" });
  const listed = await driver.msb(["ls"]);
  expect(listed.stdout).toMatch(/NAME +GROUP +IMAGE/);
  expect(listed.stdout).toMatch(/cache +shop +msb\/base/);
  const asked = await driver.msb(["net", "test", "cache", "db:7000"]);
  expect(asked.stdout).toMatch(/^allow {2}10\.210\.\d+\.\d+ \(a sandbox of the same group\): scope group: /);
  expect(await driver.msb(["rm", "--force", "cache"])).toMatchObject({ code: 0 });
});
