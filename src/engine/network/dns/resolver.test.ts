import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import { queryOf, record, zone } from "../testing/dns-messages.ts";
import { policyOf } from "../testing/policy-of.ts";
import { HostResolvers, parseResolvConf } from "./host-resolvers.ts";
import { answerTo, buildMessage, type DnsMessage, parseMessage } from "./message.ts";
import { NameTable } from "./name-table.ts";
import { HostResolver } from "./resolver.ts";
import { DnsService } from "./service.ts";
import { serveDnsStream } from "./stream-service.ts";

type Answers = (query: DnsMessage) => Buffer[];
const signal = new AbortController().signal;
const { question } = queryOf("a.example");

/** A resolver on the loopback that answers over UDP and TCP. */
async function server(udp: Answers, tcp: Answers = () => []) {
  const socket = createSocket("udp4");
  socket.on("message", (bytes, from) => {
    for (const answer of udp(parseMessage(bytes)!)) socket.send(answer, from.port, from.address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  const listener = createServer((connection) => {
    connection.on("error", () => {});
    connection.on("data", (bytes) => {
      for (const answer of tcp(parseMessage(bytes.subarray(2))!))
        connection.write(Buffer.concat([Buffer.from([answer.length >> 8, answer.length & 255]), answer]));
      connection.end();
    });
  }).listen(port, "127.0.0.1");
  await once(listener, "listening");
  onTestFinished(() => {
    socket.close();
    listener.close();
  });
  return { host: "127.0.0.1", port };
}

const good = (query: DnsMessage) => ({ ...answerTo(query, 0), answers: [record("a.example 9 A 8.8.8.8")] });
const answers: Answers = (query) => [buildMessage(good(query))];
const resolverOf = (...servers: { host: string; port: number }[]) =>
  new HostResolver({ servers: async () => servers, tryMs: 300, totalMs: 3000 });

test("an answer over UDP", async () => {
  const answer = await resolverOf(await server(answers)).resolve(question, { dnssec: false, signal });
  expect(answer.answers).toEqual([record("a.example 9 A 8.8.8.8")]);
});

test("an answer with another id, another question or no sense is not taken; the right one after it is", async () => {
  const forged = { answers: [record("a.example 9 A 6.6.6.6")], response: true };
  const at = await server((query) => [
    Buffer.from("nonsense"),
    buildMessage({ ...query, ...forged, id: query.id ^ 1 }),
    buildMessage({ ...query, ...forged, question: queryOf("b.example").question }),
    buildMessage({ ...query, ...forged, response: false }),
    buildMessage(good(query)),
  ]);
  const answer = await resolverOf(at).resolve(question, { dnssec: false, signal });
  expect(answer.answers).toEqual([record("a.example 9 A 8.8.8.8")]);
});

test("a cut answer is asked for again over TCP", async () => {
  const at = await server((query) => [buildMessage({ ...answerTo(query, 0), truncated: true })], answers);
  expect((await resolverOf(at).resolve(question, { dnssec: false, signal })).answers).toHaveLength(1);
});

test("a server that is silent or fails is passed over, and the one that answered is asked first from then on", async () => {
  let asked = 0;
  const silent = await server(() => {
    asked += 1;
    return [];
  });
  const failing = await server((query) => [buildMessage(answerTo(query, 2))]);
  const resolver = resolverOf(silent, failing, await server(answers));
  expect((await resolver.resolve(question, { dnssec: false, signal })).answers).toHaveLength(1);
  expect((await resolver.resolve(question, { dnssec: false, signal })).answers).toHaveLength(1);
  expect(asked).toBe(1);
});

test("the failure of the only server is the answer; silence is an error", async () => {
  const failing = await server((query) => [buildMessage(answerTo(query, 2))]);
  expect(await resolverOf(failing).resolve(question, { dnssec: false, signal })).toMatchObject({ rcode: 2 });
  const silent = resolverOf(await server(() => []));
  await expect(silent.resolve(question, { dnssec: false, signal })).rejects.toMatchObject({
    code: "ETIMEDOUT",
  });
  const gone = AbortSignal.abort();
  await expect(silent.resolve(question, { dnssec: false, signal: gone })).rejects.toThrow();
});

test("resolv.conf is read again when it changed", async () => {
  const folder = await mkdtemp(join(tmpdir(), "msb-resolv-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, "resolv.conf");
  let now = 0;
  const resolvers = new HostResolvers(path, () => now);
  await writeFile(
    path,
    "# x\nnameserver 192.0.2.1\noptions ndots:1\nnameserver fe80::1%eth0\nnameserver nonsense\n",
  );
  expect(await resolvers.servers()).toEqual([
    { host: "192.0.2.1", port: 53 },
    { host: "fe80::1%eth0", port: 53 },
  ]);
  await writeFile(path, "nameserver 192.0.2.22\n");
  now = 1000;
  expect(await resolvers.servers()).toEqual([{ host: "192.0.2.22", port: 53 }]);
  await writeFile(path, "");
  now = 2000;
  expect(await resolvers.servers()).toEqual([{ host: "127.0.0.1", port: 53 }]);
  expect(parseResolvConf("nameserver 1.1.1.1\n".repeat(9))).toHaveLength(3);
});

test("a stream of questions is answered, in pieces and many at a time", async () => {
  const service = new DnsService({
    policy: () => policyOf("public"),
    resolver: zone("a.example 9 A 8.8.8.8"),
    table: new NameTable(),
    local: { addressesOf: () => undefined, nameOf: () => undefined },
  });
  const written: Buffer[] = [];
  const guest = new Duplex({
    allowHalfOpen: true,
    read() {},
    write(chunk, _, done) {
      written.push(chunk);
      done();
    },
  });
  const served = serveDnsStream(guest, service, signal);
  const query = buildMessage(queryOf("a.example"));
  const framed = Buffer.concat([Buffer.from([0, query.length]), query]);
  const all = Buffer.concat(Array(50).fill(framed));
  for (let at = 0; at < all.length; at += 7) guest.push(all.subarray(at, at + 7));
  guest.push(null);
  await served;
  const bytes = Buffer.concat(written);
  const length = 2 + bytes.readUInt16BE(0);
  expect(bytes.length).toBe(50 * length);
  expect(parseMessage(bytes.subarray(2, length))?.answers).toHaveLength(1);
  expect(guest.writableEnded).toBe(true);
});

test("a stream that asks nothing is closed", async () => {
  const guest = new Duplex({ read() {}, write: (_chunk, _, done) => done() });
  const service = new DnsService({} as ConstructorParameters<typeof DnsService>[0]);
  await serveDnsStream(guest, service, signal, 1);
  expect(guest.destroyed).toBe(true);
});
