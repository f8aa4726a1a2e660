import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type NetworkSpecInput, networkSpec } from "../../contract/network.ts";
import { networkQuestion } from "../../contract/network-record.ts";
import { type AttachRequest, groupLink, LONE_LINK, NetworkService } from "./index.ts";
import type { NetworkEvent } from "./worker/messages.ts";

/** Threads that are real, without a guest behind them. */

const ports = [{ host: 0, guest: 80 }];
/** A thread loads its program anew. */
const PATIENT = { timeout: 20_000 };

function service() {
  const networks = new NetworkService();
  onTestFinished(() => networks[Symbol.asyncDispose]());
  const events: NetworkEvent[] = [];
  const attach = (id: string, spec: NetworkSpecInput, over: Partial<AttachRequest> = {}) =>
    networks.attach({
      id,
      name: id,
      link: LONE_LINK,
      spec: networkSpec.parse(spec),
      settings: { sets: { office: ["192.168.0.0/16"] } },
      onRecords: () => {},
      onEvent: (event) => events.push(event),
      ...over,
    });
  return { attach, events };
}

async function listening(server: Server, path?: string): Promise<Server> {
  server.listen(path ?? { port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return server;
}

/** Resolves when somebody listens there; the connection itself is not of interest. */
async function isOpen(port: number): Promise<boolean> {
  const socket = connect({ host: "127.0.0.1", port });
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

test("ports are listened on from the beginning to the end", async () => {
  const { attach } = service();
  const network = await attach("a", { ports });
  const [port] = network.ports;
  expect(port).toMatchObject({ bind: "127.0.0.1", guest: 80, protocol: "tcp" });
  expect(await isOpen(port!.host)).toBe(true);
  await network.close();
  expect(await isOpen(port!.host)).toBe(false);
});

test("a port that is in use is an error, and frees those before it; or an event where it is to be spared", async () => {
  const { attach, events } = service();
  const server = await listening(createServer());
  const { port: taken } = server.address() as AddressInfo;
  const both = [...ports, { host: taken, guest: 81 }];
  await expect(attach("a", { ports: both })).rejects.toMatchObject({
    code: "already_exists",
    message: `the port 127.0.0.1:${taken}/tcp of the host is in use`,
    details: { host: taken },
  });
  const network = await attach("a", { ports: both }, { spared: true });
  expect(network.ports.map(({ guest }) => guest)).toEqual([80]);
  await expect.poll(() => events.map(({ type }) => type)).toEqual(["network.port-lost"]);
});

test("the first thread stays, and has company when it has its fill", async () => {
  const { attach } = service();
  const first = await attach("first", {});
  await first.close();
  const many = await Promise.all(Array.from({ length: 9 }, (_, i) => attach(`${i}`, {})));
  expect(many.slice(0, 8).every(({ thread }) => thread === first.thread)).toBe(true);
  expect(many[8]!.thread === first.thread).toBe(availableParallelism() === 1);
});

test("rules explain themselves, with their sets, and change while it lives", async () => {
  const { attach } = service();
  const network = await attach("a", { rules: ["allow egress @office tcp:22"] });
  const question = networkQuestion.parse({ host: "192.168.1.1", port: 22 });
  expect(await network.test(question)).toMatchObject({
    addresses: [{ allowed: true, rule: "allow egress @office tcp:22", steps: [{ matched: true }] }],
  });
  await network.update(networkSpec.parse({ rules: [] }), { sets: {} });
  expect(await network.test(question)).toMatchObject({
    addresses: [{ allowed: false, rule: "scope public", place: "private use, RFC 1918" }],
  });
  const wrong = networkSpec.parse({ rules: ["allow egress @nowhere"] });
  await expect(network.update(wrong, { sets: {} })).rejects.toMatchObject({ code: "not_found" });
  await expect(network.test({ ...question, host: "no name" })).rejects.toMatchObject({
    code: "invalid_argument",
  });
});

test("names are explained by what the host's address is and by rules", async () => {
  const { attach } = service();
  const network = await attach("a", {
    rules: ["deny egress domain:example.com", "allow egress host tcp:80"],
  });
  const ask = (host: string) => network.test(networkQuestion.parse({ host, port: 80 }));
  expect(await ask("host.microsandbox.internal")).toMatchObject({
    addresses: [
      { address: "10.209.0.254", allowed: true },
      { address: "fd6d:7362::fe", allowed: true },
    ],
  });
  expect(await ask("EXAMPLE.com.")).toEqual({
    name: expect.objectContaining({
      name: "example.com",
      allowed: false,
      rule: "deny egress domain:example.com",
    }),
    addresses: [],
  });
});

test("a thread that dies is replaced: ports, rules and link are there again", async () => {
  const directory = await mkdtemp(join(tmpdir(), "msb-net-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const path = join(directory, "net");
  let links = 0;
  await listening(
    createServer((socket) => {
      links += 1;
      socket.on("error", () => {});
    }),
    path,
  );
  const { attach, events } = service();
  const network = await attach("a", { ports });
  await network.connect(path);
  expect(links).toBe(1);
  network.thread.fail("a test ends it");
  await expect.poll(() => events.map(({ type }) => type), PATIENT).toEqual(["network.restarted"]);
  expect(events[0]!.message).toContain("a test ends it");
  expect(links).toBe(2);
  expect(await isOpen(network.ports[0]!.host)).toBe(true);
  expect(await network.statistics()).toMatchObject({ bytesOut: 0, connections: expect.any(Number) });
});

test("threads that die again and again are given up", async () => {
  const { attach, events } = service();
  const network = await attach("a", {});
  for (let death = 1; death <= 6; death++) {
    network.thread.fail("again");
    await expect.poll(() => events.length, PATIENT).toBe(death);
  }
  expect(events.map(({ type }) => type)).toEqual([
    ...Array.from({ length: 5 }, () => "network.restarted"),
    "network.failed",
  ]);
  await expect(network.statistics()).rejects.toMatchObject({ code: "unavailable" });
  await network.close();
});

test("a link that does not come is an error; one that breaks is taken up again", async () => {
  const directory = await mkdtemp(join(tmpdir(), "msb-net-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const path = join(directory, "net");
  const { attach, events } = service();
  const network = await attach("a", {});
  await expect(network.connect(path, 50)).rejects.toMatchObject({ code: "timeout" });
  let links = 0;
  await listening(
    createServer((socket) => {
      links += 1;
      socket.on("error", () => {});
      // No link has frames of this length.
      if (links === 1) socket.write(Buffer.from([255, 255, 255, 255]));
    }),
    path,
  );
  await network.connect(path);
  await expect.poll(() => links).toBe(2);
  expect(events).toMatchObject([{ type: "network.link-broken" }]);
});

test("sandboxes of one group share a thread, also after its death", async () => {
  const { attach, events } = service();
  const group = { group: "g" };
  const first = await attach("a", group, { link: groupLink(2) });
  // The next one, and whoever is in another group, is put elsewhere.
  for (let i = 0; i < 8; i++) await attach(`b${i}`, {});
  const second = await attach("c", group, { link: groupLink(3) });
  const ask = () => second.test(networkQuestion.parse({ host: "a", port: 80 }));
  const told = { addresses: [{ address: "10.210.0.2", allowed: true }, { address: "fd6d:7363::2" }] };
  expect(second.thread).toBe(first.thread);
  expect(await ask()).toMatchObject(told);
  first.thread.fail("a test ends it");
  await expect.poll(() => events.length).toBe(9);
  expect(second.thread).toBe(first.thread);
  expect(await ask()).toMatchObject(told);
});
