import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type CreateOptions, Sandbox } from "../src/sdk/index.ts";
import { buildGoProgram, type GoProgram } from "./go-program.ts";
import { NameServer } from "./name-server.ts";
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
  await expect
    .poll(() => Array.fromAsync(sandbox.network.log()))
    .toContainEqual(expect.objectContaining(wanted));
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

describe("a network that runs", () => {
  test("takes other rules, and closes what they do not allow", async () => {
    const tcp = await serve(echo());
    await using sandbox = await create({ scope: "public", rules: [`allow egress host tcp:${tcp}`] });
    const held = await sandbox.processes.start("sh", [
      "-c",
      `(echo held; sleep 1000) | nc ${HOST} ${tcp}; echo closed`,
    ]);
    const seen = held.attach()[Symbol.asyncIterator]();
    expect(String((await seen.next()).value?.data)).toBe("held\n");
    const question = { host: HOST, port: tcp };
    expect((await sandbox.network.test(question)).addresses[0]).toMatchObject({ allowed: true });
    // A connection is told of when it is over; of this one five bytes went out before other rules closed it.
    const closed = { kind: "connection", port: tcp, allowed: false, bytesOut: 5 };
    expect(await Array.fromAsync(sandbox.network.log())).not.toContainEqual(expect.objectContaining(closed));
    expect((await sandbox.network.statistics()).connections).toBeGreaterThan(0);

    expect(await sandbox.network.update({ rules: [] })).toMatchObject({ scope: "public", rules: [] });
    const process = expect.objectContaining({ command: "nc", pid: expect.any(Number) });
    await decisions(sandbox, { ...closed, process });
    expect((await sandbox.network.test(question)).addresses[0]).toMatchObject({ allowed: false });
    expect(await complaint(sandbox, `nc -w 20 ${HOST} ${tcp}`)).toContain("Connection refused");
    await held.signal("KILL", { scope: "tree" });
    await expect(sandbox.network.update({ scope: "none" })).rejects.toMatchObject({
      code: "invalid_argument",
    });
    await expect(sandbox.network.update({ rules: ["allow egress @nobody"] })).rejects.toMatchObject({
      code: "not_found",
    });
    expect(
      (await Sandbox.get(sandbox.id, { connection: driver.connection })).info.spec.network,
    ).toMatchObject({ rules: [] });
  });

  test("is not what a sandbox without one has", async () => {
    await using sandbox = await driver.create({ network: { scope: "none" } });
    await expect(sandbox.network.update({ rules: ["allow egress public"] })).rejects.toMatchObject({
      code: "invalid_state",
      hint: expect.any(String),
    });
    await expect(sandbox.network.statistics()).rejects.toMatchObject({ code: "invalid_state" });
    expect(await Array.fromAsync(sandbox.network.log())).toEqual([]);
  });
});

/** Starts the probe's echo servers in the sandbox, and waits for them. */
async function echoIn(sandbox: Sandbox, port: number): Promise<void> {
  const start = (kind: string) => `/probe ${kind}-echo ${port} >/tmp/${kind} 2>&1 </dev/null &`;
  const ready = (kind: string) => `until grep -q listening /tmp/${kind}; do sleep 0.05; done`;
  await shell(sandbox, `${start("tcp")} ${start("udp")} ${ready("tcp")}; ${ready("udp")}`);
}

async function overTcp(port: number, words: string): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port });
  socket.end(words);
  return await text(socket);
}

async function overUdp(port: number, words: string): Promise<string> {
  const socket = createSocket("udp4");
  try {
    socket.send(words, port, "127.0.0.1");
    const [answer] = await once(socket, "message", { signal: AbortSignal.timeout(20_000) });
    return String(answer);
  } finally {
    socket.close();
  }
}

const portOf = ({ info }: Sandbox, protocol: string): number =>
  info.ports!.find((port) => port.protocol === protocol)!.host;

describe("published ports", () => {
  const ports = [
    { host: 0, guest: 7000 },
    { host: 0, guest: 7000, protocol: "udp" as const },
  ];

  test("lead into the sandbox, also after a daemon's death", async () => {
    const target = await serve(echo());
    const rules = [`allow egress host tcp:${target}`];
    await using sandbox = await create({ scope: "public", ports, rules }, { name: "published" });
    await echoIn(sandbox, 7000);
    const [tcp, udp] = [portOf(sandbox, "tcp"), portOf(sandbox, "udp")];
    expect(await overTcp(tcp, "hi")).toBe("10.209.0.254 said hi");
    expect(await overUdp(udp, "hi")).toBe("10.209.0.254 said hi");
    await decisions(sandbox, {
      direction: "ingress",
      protocol: "tcp",
      port: 7000,
      allowed: true,
      bytesIn: 2,
    });
    await driver.killDaemon();
    const again = await Sandbox.get("published", { connection: driver.connection });
    expect(again.info.ports).toEqual(sandbox.info.ports);
    expect(await overTcp(tcp, "hi again")).toBe("10.209.0.254 said hi again");
    expect(await overUdp(udp, "hi again")).toBe("10.209.0.254 said hi again");
    expect(await shell(again, `echo out again | nc -w 5 ${HOST} ${target}`)).toBe("out again\n");
  });

  test("are closed to whom a rule denies, and where nobody listens", async () => {
    await using sandbox = await create({
      scope: "public",
      ports,
      rules: ["deny ingress 127.0.0.0/8 tcp:7000"],
    });
    await echoIn(sandbox, 7000);
    await expect(overTcp(portOf(sandbox, "tcp"), "hi")).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(await overUdp(portOf(sandbox, "udp"), "hi")).toBe("10.209.0.254 said hi");
    await decisions(sandbox, {
      direction: "ingress",
      allowed: false,
      rule: "deny ingress 127.0.0.0/8 tcp:7000",
    });
    await using silent = await create({ scope: "public", ports });
    await expect(overTcp(portOf(silent, "tcp"), "hi")).rejects.toMatchObject({ code: "ECONNRESET" });
  });

  test("that are in use are an error that names them, and nothing is left", async () => {
    const port = await serve(echo());
    const before = await Sandbox.list({ connection: driver.connection });
    await expect(create({ scope: "public", ports: [{ host: port, guest: 80 }] })).rejects.toMatchObject({
      code: "already_exists",
      message: `the port 127.0.0.1:${port}/tcp of the host is in use`,
    });
    expect(await Sandbox.list({ connection: driver.connection })).toHaveLength(before.length);
    expect(await driver.vmPids()).toHaveLength(before.length);
  });

  test("are free again when the sandbox has stopped", async () => {
    await using sandbox = await create({ scope: "public", ports });
    const port = portOf(sandbox, "tcp");
    await sandbox.stop();
    const stopped = await Sandbox.get(sandbox.name, { connection: driver.connection });
    expect(stopped.info).toMatchObject({ state: "stopped" });
    expect(stopped.info.ports).toBeUndefined();
    await expect(overTcp(port, "hi")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });
});

describe("the scope public", () => {
  test("denies everything else at once", async () => {
    await using sandbox = await create({ scope: "public" });
    const tcp = ["10.0.0.1:443", "192.168.1.1:22", "172.16.0.1:443", "100.64.0.1:443", "169.254.169.254:443"];
    tcp.push("203.0.113.1:443", "[fd00::1]:443", "[64:ff9b::a00:1]:443");
    for (const address of tcp)
      expect(await shell(sandbox, `/probe dial tcp '${address}'`)).toMatch(
        /(refused|unreachable|no route).* at once: true/,
      );
    for (const address of ["10.0.0.1:5000", "[fd00::1]:5000"])
      expect(await shell(sandbox, `/probe dial udp '${address}'`)).toMatch(
        /(refused|no route|denied).* at once: true/,
      );
    expect(await complaint(sandbox, "wget -O - http://169.254.169.254/latest/meta-data")).toContain(
      "403 Forbidden",
    );
    await decisions(sandbox, { address: "169.254.169.254", port: 80, allowed: false });
  });

  test("takes names from the host's resolvers, without what it may not reach", async () => {
    using server = await NameServer.listen(
      "mixed.example 60 A 93.184.216.34",
      "mixed.example 60 A 10.0.0.7",
      "rebound.example 60 A 192.168.1.1",
      "tracker.example 60 A 93.184.216.35",
    );
    await writeFile(join(driver.home, "network.json"), JSON.stringify({ resolvers: [server.address] }));
    await using sandbox = await create({ scope: "public", rules: ["deny egress domain:tracker.example"] });
    expect(await shell(sandbox, "/probe addresses mixed.example")).toBe("[93.184.216.34]\n");
    expect(await shell(sandbox, "/probe addresses rebound.example")).toMatch(/no such host|no address/i);
    expect(await shell(sandbox, "/probe addresses tracker.example")).toContain("no such host");
    expect(await shell(sandbox, "nslookup mixed.example 8.8.8.8")).toContain("93.184.216.34");
    expect(new Set(server.asked)).toEqual(new Set(["mixed.example", "rebound.example"]));
    await decisions(sandbox, { kind: "name", name: "tracker.example", allowed: false });
    await decisions(sandbox, { kind: "name", name: "mixed.example", addresses: ["93.184.216.34"] });
  });
});

test("50 MB go both ways, and are what they were", async () => {
  const bytes = 50 * 1024 * 1024;
  const port = await serve(echo());
  await using sandbox = await create({ scope: "public", rules: [`allow egress host tcp:${port}`] });
  const [sent, back] = (await shell(sandbox, `/probe send 10.209.0.254:${port} ${bytes}`)).trim().split(" ");
  expect(sent).toMatch(/^[0-9a-f]{64}$/);
  expect(back).toBe(sent);
  await decisions(sandbox, { port, bytesOut: bytes, bytesIn: bytes });
});

test("two sandboxes do not see each other", async () => {
  await using one = await create({ scope: "any", ports: [{ host: 0, guest: 7000 }] });
  await using other = await create({ scope: "any" });
  await echoIn(one, 7000);
  expect(await overTcp(portOf(one, "tcp"), "hi")).toBe("10.209.0.254 said hi");
  // It has the same address, which to the other is its own.
  for (const address of [
    "10.209.0.2:7000",
    "10.209.0.3:7000",
    "10.209.0.1:7000",
    `10.209.0.254:${portOf(one, "tcp")}`,
  ])
    expect(await shell(other, `/probe dial tcp ${address}`)).toMatch(/refused|no route/);
  expect(await shell(other, "ping -c 1 -W 1 10.209.0.3 >/dev/null; echo $?")).toBe("1\n");
});

test("rates of packets slow TCP down and break nothing; what else is too much is dropped", async () => {
  const port = await serve(echo());
  const rates = { egressPacketsPerSecond: 200, ingressPacketsPerSecond: 100 };
  await using sandbox = await create({
    scope: "public",
    rules: [`allow egress host tcp:${port}`],
    limits: rates,
  });
  const [sent, back] = (await shell(sandbox, `/probe send 10.209.0.254:${port} 500000`)).trim().split(" ");
  expect(sent).toMatch(/^[0-9a-f]{64}$/);
  expect(back).toBe(sent);
  // Echoes of the gateway: more than these rates even where the guest is slow.
  await sandbox.network.update({ limits: { egressPacketsPerSecond: 10 } });
  await shell(sandbox, "ping -A -c 60 -W 1 10.209.0.1 || true");
  expect((await sandbox.network.statistics()).dropped).toMatchObject({ "packet-rate": expect.any(Number) });
  expect(
    await driver.msb(["net", "limit", sandbox.name, "packets-in=none", "packets-out=none"]),
  ).toMatchObject({
    code: 0,
  });
  const { limits } = (await Sandbox.get(sandbox.id, { connection: driver.connection })).info.spec.network;
  expect(limits).toEqual({ connections: 1024, queriesPerSecond: 200 });
});
