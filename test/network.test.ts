import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { CreateOptions, Sandbox } from "../src/sdk/index.ts";
import { buildGoProgram, type GoProgram } from "./go-program.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** Sandboxes that reach what they may, and nothing else, through the whole network: guest, VMM, threads, host. */

let driver: SandboxDriver;
let probe: GoProgram;
beforeAll(async () => {
  driver = await SandboxDriver.open("net");
  probe = await buildGoProgram("net-probe");
});
afterAll(async () => {
  await driver?.[Symbol.asyncDispose]();
  await probe?.[Symbol.asyncDispose]();
});

/** A sandbox with this network, and the probe in it. */
async function create(
  network: CreateOptions["network"],
  options: Partial<CreateOptions> = {},
): Promise<Sandbox> {
  const sandbox = await driver.create({ network, ...options });
  await sandbox.files.write("/probe", createReadStream(probe.path), { mode: 0o755 });
  return sandbox;
}

const HOST = "host.microsandbox.internal";
const shell = async (sandbox: Sandbox, script: string) => (await sandbox.shell(script)).stdout;
/** What a command says of why it failed. */
const complaint = async (sandbox: Sandbox, script: string) => (await sandbox.shell(script)).stderr;

function close(server: { close(): unknown }): void {
  onTestFinished(() => {
    server.close();
  });
}

/** A server on the host's loopback; its port. */
async function serve(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  close(server);
  return (server.address() as AddressInfo).port;
}

const echo = () =>
  createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    socket.pipe(socket);
  });

async function udpEcho(): Promise<number> {
  const socket = createSocket("udp4");
  socket.on("message", (payload, { port, address }) => socket.send(payload, port, address));
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  close(socket);
  return socket.address().port;
}

/** What the sandbox's network has decided, once there is something of it. */
async function decisions(sandbox: Sandbox, wanted: Record<string, unknown>): Promise<void> {
  const file = join(driver.home, "sandboxes", sandbox.id, "logs", "network.jsonl");
  const records = async () =>
    (await readFile(file, "utf8").catch(() => ""))
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line));
  await expect.poll(records).toContainEqual(expect.objectContaining(wanted));
}

describe("the host's loopback", () => {
  test("is reached over TCP, UDP and HTTP where rules say so", async () => {
    const tcp = await serve(echo());
    const udp = await udpEcho();
    const page = createHttpServer((_, response) => response.end("hello from the host\n"));
    const http = await serve(page);
    const rules = [`allow egress host tcp:${tcp},tcp:${http},udp:${udp}`];
    await using sandbox = await create({ scope: "public", rules });
    expect(await shell(sandbox, `wget -q -O - http://${HOST}:${http}/; echo $?`)).toBe(
      "hello from the host\n0\n",
    );
    expect(await shell(sandbox, `echo over tcp | nc -w 5 ${HOST} ${tcp}`)).toBe("over tcp\n");
    expect(await shell(sandbox, `/probe udp 10.209.0.254:${udp} 'over udp'`)).toBe("over udp\n");
    await decisions(sandbox, { kind: "name", name: HOST, allowed: true });
    await decisions(sandbox, { kind: "connection", port: http, allowed: true, rule: rules[0] });
  });

  test("is refused at once without a rule", async () => {
    const tcp = await serve(echo());
    await using sandbox = await create({ scope: "any" });
    expect(await complaint(sandbox, `nc -w 20 ${HOST} ${tcp}`)).toContain("Connection refused");
    await decisions(sandbox, { port: tcp, allowed: false, rule: "scope any" });
  });
});
