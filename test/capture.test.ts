import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { Sandbox } from "../src/sdk/index.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** What a sandbox sends and receives, in files as Wireshark takes them. */

let driver: SandboxDriver;
let folder: string;
beforeAll(async () => {
  driver = await SandboxDriver.open("capture");
  folder = await mkdtemp(join(tmpdir(), "msb-capture-"));
});
afterAll(async () => {
  await driver?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const HOST = "host.microsandbox.internal";

/** A page on the host's loopback; its port. */
async function serve(): Promise<number> {
  const server = createServer((_, response) => response.end("hello from the host\n")).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** What tshark shows of the packets in the file, one a line. It complains on stderr, and ends with 0 then too. */
async function packets(file: string, ...args: string[]): Promise<string[]> {
  const { stdout, stderr } = await promisify(execFile)("tshark", ["-r", file, "-n", ...args]);
  const complaints = stderr.split("\n").filter((line) => line !== "" && !line.startsWith("Running as user"));
  expect(complaints).toEqual([]);
  return stdout.split("\n").filter((line) => line !== "");
}

test("msb run --pcap writes all of it, from the first packet on", async () => {
  const port = await serve();
  const file = join(folder, "run.pcap");
  const rule = ["--net-rule", `allow egress host tcp:${port}`];
  const command = ["wget", "-q", "-O", "-", `http://${HOST}:${port}/`];
  const { code, stdout } = await driver.msb([
    "run",
    "--rm",
    "--pcap",
    file,
    ...rule,
    "msb/base",
    "--",
    ...command,
  ]);
  expect({ code, stdout }).toEqual({ code: 0, stdout: "hello from the host\n" });
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  const seen = (filter: string) => packets(file, "-Y", filter);
  expect(await seen(`dns.qry.name == "${HOST}" && dns.flags.response == 1`)).not.toEqual([]);
  expect(await seen(`tcp.flags.syn == 1 && tcp.dstport == ${port}`)).toHaveLength(1);
  expect(await seen(`tcp.flags.fin == 1 && tcp.dstport == ${port}`)).toHaveLength(1);
  expect(await readFile(file, "latin1")).toContain("hello from the host\n");
  // Neither checksums nor lengths nor sequences are wrong in what we write.
  const strict = [
    "-o",
    "ip.check_checksum:TRUE",
    "-o",
    "tcp.check_checksum:TRUE",
    "-o",
    "udp.check_checksum:TRUE",
  ];
  expect(await packets(file, ...strict, "-Y", "_ws.malformed || _ws.expert.severity >= 0x600000")).toEqual(
    [],
  );
});

test("a capture goes on in a new daemon, and begins anew with a new start", async () => {
  const port = await serve();
  const file = join(folder, "kept.pcap");
  const network = { rules: [`allow egress host tcp:${port}`], capture: { file } };
  await using sandbox = await driver.create({ name: "captured", network });
  const ask = (path: string) => sandbox.shell(`wget -q -O - http://${HOST}:${port}/${path}`);
  await ask("first");
  await driver.killDaemon();
  await ask("second");
  await sandbox.stop();
  const asked = async () =>
    await packets(
      file,
      "-Y",
      "http.request",
      "-T",
      "fields",
      "-e",
      "http.request.uri",
      "-d",
      `tcp.port==${port},http`,
    );
  expect(await asked()).toEqual(["/first", "/second"]);
  await sandbox.start();
  await ask("third");
  await sandbox.stop();
  expect(await asked()).toEqual(["/third"]);
});

test("a file that cannot be had is an error before anything runs", async () => {
  const before = await Sandbox.list({ connection: driver.connection });
  await mkdir(join(folder, "there"));
  await symlink(join(folder, "there"), join(folder, "link"));
  await writeFile(join(folder, "target"), "kept");
  await symlink(join(folder, "target"), join(folder, "file-link"));
  const refused = async (file: string, expected: object, scope?: "none") =>
    expect(driver.create({ network: { capture: { file }, ...(scope && { scope }) } })).rejects.toMatchObject(
      expected,
    );
  await refused(join(folder, "none/a.pcap"), { code: "not_found" });
  await refused(join(folder, "link/a.pcap"), {
    code: "invalid_argument",
    hint: expect.stringContaining("/there/a.pcap"),
  });
  await refused(join(folder, "file-link"), { code: "invalid_argument" });
  await refused(join(driver.home, "state.db"), { code: "permission_denied" });
  await refused("relative.pcap", { code: "invalid_argument" });
  await refused(
    join(folder, "a.pcap"),
    { code: "invalid_argument", message: expect.stringContaining("scope is 'none'") },
    "none",
  );
  await writeFile(join(driver.home, "mounts.json"), JSON.stringify({ default: { allow: false } }));
  await refused(join(folder, "a.pcap"), { code: "permission_denied" });
  await rm(join(driver.home, "mounts.json"));
  expect(await readFile(join(folder, "target"), "utf8")).toBe("kept");
  expect(await Sandbox.list({ connection: driver.connection })).toHaveLength(before.length);
  expect(await driver.vmPids()).toHaveLength(0);
});
