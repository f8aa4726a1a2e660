import { execFile } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { connectProxy } from "../../testing/connect-proxy.ts";
import { FakeDatagrams } from "../../testing/guest.ts";
import { outwardOf, world } from "../../testing/outward-of.ts";
import { socks5Server } from "../../testing/socks5-server.ts";
import { throughProxy } from "./through-proxy.ts";

/** A sandbox's connections, decided upon and then through proxies that work. */

/** Answers each datagram with itself and an exclamation mark. */
async function echoUdp(): Promise<number> {
  const server = createSocket("udp4");
  server.on("message", (bytes, from) => server.send(`${bytes}!`, from.port, from.address));
  server.bind(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return server.address().port;
}

const NAMES = { "one.example": ["8.8.8.8"], "two.example": ["9.9.9.9"], "twin.example": ["9.9.9.9"] };

test("SOCKS5: connections go through it by address, both ways, and are counted", async () => {
  const { port } = await world();
  const proxy = await socks5Server({ tcpPort: port, login: "me:s:cret" });
  const over = throughProxy(`socks5://me:s%3Acret@${proxy.at}`);
  const { exchange, audit, ended } = outwardOf({ names: NAMES, over });
  expect((await exchange("8.8.8.8", 443, "x".repeat(300_000))).answer).toBe("x".repeat(300_000));
  expect((await exchange("2a00:1450::1", 80, "six")).answer).toBe("six");
  await ended();
  expect(proxy.asked).toEqual(["CONNECT 8.8.8.8:443", "CONNECT 2a00:1450:0000:0000:0000:0000:0000:0001:80"]);
  expect(audit[0]).toMatchObject({ allowed: true, bytesOut: 300_000, bytesIn: 300_000, name: "one.example" });
});

test("HTTP CONNECT: the same", async () => {
  const { port } = await world();
  const proxy = await connectProxy({ tcpPort: port, login: "a:b" });
  const { exchange, ended } = outwardOf({ over: throughProxy(`http://a:b@${proxy.at}`) });
  expect((await exchange("8.8.8.8", 443, "x".repeat(300_000))).answer).toBe("x".repeat(300_000));
  expect((await exchange("2a00:1450::1", 80, "six")).answer).toBe("six");
  await ended();
  expect(proxy.asked).toEqual(["8.8.8.8:443", "[2a00:1450::1]:80"]);
});

test.each(["socks5", "http"] as const)(
  "%s: names go to the proxy where it may look them up and there is one",
  async (scheme) => {
    const { port } = await world();
    const proxy = await (scheme === "http" ? connectProxy : socks5Server)({ tcpPort: port });
    const over = throughProxy(`${scheme}://${proxy.at}`, { names: true });
    const rules = ["allow egress domain:one.example", "allow egress 9.9.9.9"];
    const { exchange, open } = outwardOf({ scope: "group", rules, names: NAMES, over });
    const page = "GET / HTTP/1.1\r\nHost: one.example\r\n\r\n";
    expect((await exchange("8.8.8.8", 80, page)).answer).toBe(page);
    // Which of its two names is meant cannot be known before the first bytes.
    expect((await exchange("9.9.9.9", 22, "ssh")).answer).toBe("ssh");
    const asked = proxy.asked.map((each) => each.replace("CONNECT ", ""));
    expect(asked).toEqual(["one.example:80", "9.9.9.9:22"]);
    expect(await open("8.8.4.4").told).toBe("reset");
    expect(proxy.asked).toHaveLength(2);
  },
);

test("what is denied is not told to the proxy; the host's own is reached without it", async () => {
  const { port } = await world();
  const proxy = await socks5Server({ tcpPort: port, udpPort: await echoUdp() });
  const over = throughProxy(`socks5://${proxy.at}`, { names: true });
  const { open, exchange, outward, dialled } = outwardOf({
    port,
    rules: ["deny egress domain:one.example", "allow egress host"],
    names: NAMES,
    over,
  });
  expect(await open("8.8.8.8").told).toBe("reset");
  expect(await open("10.0.0.1").told).toBe("reset");
  const denied = new FakeDatagrams("10.0.0.1", 53_000, "x");
  outward.udp(denied);
  expect(denied.codes).toEqual(["prohibited"]);
  expect((await exchange("10.209.0.254", 5432, "hi")).answer).toBe("hi");
  expect(dialled).toEqual(["local 127.0.0.1 5432"]);
  expect(proxy.asked).toEqual([]);
});

test.each([
  [3, "network"],
  [4, "host"],
  [5, "reset"],
  [2, "reset"],
  [6, "dropped"],
])("SOCKS5: reply %i is %s to the guest", async (code, told) => {
  const proxy = await socks5Server({ refuse: { "8.8.8.8": code } });
  const { open } = outwardOf({ over: throughProxy(`socks5://${proxy.at}`) });
  expect(await open("8.8.8.8").told).toBe(told);
});

test("HTTP: a proxy that does not want to is a refusal, with its status in the record", async () => {
  const proxy = await connectProxy({ tcpPort: 1, status: 503 });
  const { open, audit, ended } = outwardOf({ over: throughProxy(`http://${proxy.at}`) });
  expect(await open("8.8.8.8").told).toBe("reset");
  await ended();
  expect(audit[0]!.reason).toContain("the proxy answers 503");
});

test("SOCKS5: datagrams go through its relay, each flow's by itself, and end with the flow", async () => {
  const proxy = await socks5Server({ udpPort: await echoUdp() });
  const { outward, audit, ended } = outwardOf({ over: throughProxy(`socks5://${proxy.at}`) });
  const [one, two] = [new FakeDatagrams("8.8.8.8", 123), new FakeDatagrams("2a00:1450::1", 443)];
  for (const flow of [one, two]) {
    const reply = flow.nextReply();
    outward.udp(flow);
    flow.send("hello");
    expect(await reply).toBe("hello!");
  }
  expect(proxy.asked).toEqual(["UDP 8.8.8.8:123", "UDP 2a00:1450:0000:0000:0000:0000:0000:0001:443"]);
  const gone = once(proxy.sockets[0]!, "close");
  one.close();
  await gone;
  // The proxy ends it: so does the flow, and the next datagram makes another.
  proxy.sockets[1]!.destroy();
  await expect.poll(() => two.closed).toBe(true);
  await ended();
  expect(audit).toMatchObject([
    { protocol: "udp", bytesOut: 5, bytesIn: 6, allowed: true },
    { bytesOut: 5, bytesIn: 6, reason: expect.stringContaining("the proxy ended the flow") },
  ]);
});

test("SOCKS5: names in datagrams, too", async () => {
  const proxy = await socks5Server({ udpPort: await echoUdp() });
  const { outward } = outwardOf({
    names: NAMES,
    over: throughProxy(`socks5://${proxy.at}`, { names: true }),
  });
  const flow = new FakeDatagrams("8.8.8.8", 123);
  const reply = flow.nextReply();
  outward.udp(flow);
  flow.send("hello");
  expect(await reply).toBe("hello!");
  expect(proxy.asked).toEqual(["UDP one.example:123"]);
});

test("SOCKS5: what comes from another address, in pieces or malformed does not reach the guest", async () => {
  const proxy = await socks5Server({ udpPort: await echoUdp() });
  const { outward } = outwardOf({ over: throughProxy(`socks5://${proxy.at}`) });
  const flow = new FakeDatagrams("8.8.8.8", 123);
  const replies: string[] = [];
  flow.on("reply", (payload) => replies.push(Buffer.from(payload).toString()));
  outward.udp(flow);
  const [relay] = await expect
    .poll(() => proxy.relays)
    .toHaveLength(1)
    .then(() => proxy.relays);
  const heard = once(relay!, "message");
  flow.send("first");
  const [, { port }] = await heard;
  const head = (frag: number, last: number, to = 123) => Buffer.of(0, 0, frag, 1, 8, 8, 8, last, 0, to);
  for (const part of [head(0, 9), head(1, 8), head(0, 8, 124), head(0, 8).subarray(0, 9), Buffer.alloc(0)])
    relay!.send([part, "bad"].slice(0, part.length < 10 ? 1 : 2), port, "127.0.0.1");
  relay!.send([head(0, 8), "good"], port, "127.0.0.1");
  await expect.poll(() => replies).toContain("good");
  expect(replies.toSorted()).toEqual(["first!", "good"]);
});

test.each(["http", "socks5"] as const)(
  "%s: where the proxy carries no datagrams they are refused, and go no other way",
  async (scheme) => {
    const udpPort = await echoUdp();
    const proxy =
      scheme === "http"
        ? await connectProxy({ tcpPort: 1 })
        : await socks5Server({ udpPort, withoutUdp: true });
    const { outward, audit, ended } = outwardOf({ over: throughProxy(`${scheme}://${proxy.at}`) });
    const flow = new FakeDatagrams("8.8.8.8", udpPort, "x");
    outward.udp(flow);
    await ended();
    expect(flow).toMatchObject({ closed: true, codes: ["prohibited"] });
    expect(audit).toMatchObject([
      { allowed: false, rule: "proxy", bytesOut: 0, reason: expect.stringContaining("but: ") },
    ]);
  },
);

test("rules that change end a datagram's flow through a proxy that does not answer", async () => {
  const silent = await world(() => {});
  const { outward } = outwardOf({ over: throughProxy(`socks5://127.0.0.1:${silent.port}`) });
  const flow = new FakeDatagrams("8.8.8.8", 123, "x");
  outward.udp(flow);
  await expect.poll(() => silent.sockets.length).toBe(1);
  const gone = once(silent.sockets[0]!, "end");
  outward.close();
  await gone;
  expect(flow).toMatchObject({ closed: true, codes: ["prohibited"] });
});

test("curl is content with the proxies of these tests", async ({ skip }) => {
  const curl = (args: string[]) => promisify(execFile)("curl", ["-s", "-m", "10", ...args]);
  await curl(["--version"]).catch(() => skip("there is no curl"));
  const page = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
  const { port } = await world((socket) => socket.once("data", () => socket.end(page)));
  const socks = await socks5Server({ tcpPort: port, login: "a:b" });
  const http = await connectProxy({ tcpPort: port, login: "a:b" });
  const bySocks = await curl(["--socks5-hostname", `a:b@${socks.at}`, "http://x.example/"]);
  const byHttp = await curl(["-p", "-x", `http://a:b@${http.at}`, "http://x.example/"]);
  expect([bySocks.stdout, byHttp.stdout]).toEqual(["hi", "hi"]);
  expect([...socks.asked, ...http.asked]).toEqual(["CONNECT x.example:80", "x.example:80"]);
});
