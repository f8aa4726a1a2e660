import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Groups } from "../group/group.ts";
import { LONE_LINK } from "../guest-link.ts";
import { parseEthernet, parseMac } from "../packet/ethernet.ts";
import { parseIpv4 } from "../packet/ipv4.ts";
import { buildUdpHeader, parseUdp } from "../packet/udp.ts";
import { ethernetFrame, ip, ipPacket } from "../testing/packets.ts";
import { socks5Server } from "../testing/socks5-server.ts";
import {
  type BegunFlow,
  type FlowRecord,
  linkToText,
  type StackSettings,
  type StackSpec,
} from "./messages.ts";
import { SandboxStack } from "./sandbox-stack.ts";

const SPEC: StackSpec = {
  scope: "public",
  rules: [],
  ports: [],
  limits: { connections: 10, queriesPerSecond: 10 },
};

/** A stack as a sandbox has it, with a socket in the place of its VMM. */
async function stackWith(settings: StackSettings) {
  const directory = await mkdtemp(join(tmpdir(), "msb-stack-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const path = join(directory, "net");
  const attached = Promise.withResolvers<Socket>();
  const vmm = createServer((socket) => attached.resolve(socket.on("error", () => {}))).listen(path);
  onTestFinished(() => void vmm.close());
  await once(vmm, "listening");
  const records: FlowRecord[] = [];
  const flows: BegunFlow[] = [];
  const stack = await SandboxStack.open(
    {
      id: "s",
      name: "s",
      link: linkToText(LONE_LINK),
      spec: SPEC,
      settings,
      spared: false,
    },
    {
      onRecord: (record) => records.push(record),
      onFlows: (begun) => flows.push(...begun),
      onEvent: () => {},
    },
    new Groups(),
  );
  onTestFinished(() => stack[Symbol.asyncDispose]());
  await stack.connect(path, 5000);
  return { stack, wire: await attached.promise, records, flows };
}

const GUEST = ip("10.209.0.2");
const PORT = 40_000;

/** A datagram of the guest, in QEMU's framing. */
function framed(address: string, port: number, text: string): Buffer {
  const to = ip(address);
  const payload = Buffer.from(text);
  const header = buildUdpHeader(GUEST, to, { sourcePort: PORT, destinationPort: port }, payload);
  const packet = ipPacket({ source: GUEST, destination: to, protocol: 17 }, header, payload);
  const frame = ethernetFrame(parseMac(LONE_LINK.guest.mac), parseMac(LONE_LINK.gateway.mac), packet);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(frame.length);
  return Buffer.concat([length, frame]);
}

/** Whatever datagrams it sends out go to one socket, by a proxy. */
async function stackBeforeEcho() {
  const echo = createSocket("udp4").bind(0, "127.0.0.1");
  onTestFinished(() => void echo.close());
  await once(echo, "listening");
  const proxy = await socks5Server({ udpPort: echo.address().port });
  const settings = { sets: {}, proxy: `socks5://${proxy.at}` };
  return { echo, settings, ...(await stackWith(settings)) };
}

test("a proxy of the settings has the sandbox's datagrams, and they come back", async () => {
  const echo = createSocket("udp4").bind(0, "127.0.0.1");
  onTestFinished(() => void echo.close());
  echo.on("message", (bytes, from) => echo.send(`${bytes}!`, from.port, from.address));
  await once(echo, "listening");
  const proxy = await socks5Server({ udpPort: echo.address().port });
  const { wire } = await stackWith({ sets: {}, proxy: `socks5://${proxy.at}` });
  const answered = once(wire, "data");
  wire.write(framed("8.8.8.8", 123, "hello"));
  const [bytes] = await answered;
  const datagram = parseUdp(parseIpv4(parseEthernet(bytes.subarray(4))!.payload)!)!;
  expect(Buffer.from(datagram.payload).toString()).toBe("hello!");
  expect(proxy.asked).toEqual(["UDP 8.8.8.8:123"]);
});

test("an HTTP proxy has none: they are refused", async () => {
  const { wire, records } = await stackWith({ sets: {}, proxy: "http://127.0.0.1:9" });
  const answered = once(wire, "data");
  wire.write(framed("8.8.8.8", 123, "hello"));
  const [bytes] = await answered;
  // ICMP: destination unreachable, administratively prohibited.
  const packet = parseIpv4(parseEthernet(bytes.subarray(4))!.payload)!;
  expect([packet.protocol, packet.payload[0], packet.payload[1]]).toEqual([1, 3, 13]);
  await expect.poll(() => records).toMatchObject([{ allowed: false, rule: "proxy", address: "8.8.8.8" }]);
});

test("of frames beyond a rate of packets nothing is heard, and they are counted", async () => {
  const { echo, settings, stack, wire } = await stackBeforeEcho();
  const heard: string[] = [];
  echo.on("message", (bytes) => heard.push(bytes.toString()));
  stack.update({ ...SPEC, limits: { ...SPEC.limits, egressPacketsPerSecond: 10 } }, settings);
  wire.write(Buffer.concat(Array.from({ length: 50 }, () => framed("8.8.8.8", 125, "one of many"))));
  await expect.poll(() => heard.length + (stack.statistics.dropped["packet-rate"] ?? 0)).toBe(50);
  expect(heard.length).toBeGreaterThan(0);
  expect(heard.length).toBeLessThan(50);
  stack.update(SPEC, settings);
  wire.write(framed("8.8.8.8", 125, "last"));
  await expect.poll(() => heard).toContain("last");
});

test("limits change while it lives", async () => {
  const { echo, settings, stack, wire } = await stackBeforeEcho();
  wire.write(framed("8.8.8.8", 123, "hello"));
  await once(echo, "message");
  stack.update({ ...SPEC, limits: { ...SPEC.limits, connections: 1 } }, settings);
  const told = once(wire, "data");
  wire.write(framed("8.8.8.8", 124, "hello"));
  const packet = parseIpv4(parseEthernet((await told)[0].subarray(4))!.payload)!;
  expect([packet.protocol, packet.payload[0], packet.payload[1]]).toEqual([1, 3, 13]);
  stack.update({ ...SPEC, limits: { ...SPEC.limits, connections: 2, egressBytesPerSecond: 1024 } }, settings);
  // A tenth of a second's worth is 102 bytes: the first makes a debt, and the second is dropped.
  const heard: string[] = [];
  echo.on("message", (bytes) => heard.push(bytes.toString()));
  wire.write(framed("8.8.8.8", 125, "x".repeat(1000)));
  wire.write(framed("8.8.8.8", 125, "dropped"));
  await once(echo, "message");
  stack.update(SPEC, settings);
  wire.write(framed("8.8.8.8", 125, "last"));
  await expect.poll(() => heard).toEqual(["x".repeat(1000), "last"]);
});

test("flows are told of when they begin, and their records name them", async () => {
  const { wire, records, flows } = await stackWith({ sets: {} });
  for (const port of [1001, 1002]) wire.write(framed("10.0.0.1", port, "x"));
  await expect.poll(() => records.length).toBe(2);
  await expect.poll(() => flows.length).toBeGreaterThan(0);
  expect(flows[0]).toMatchObject({ protocol: "udp", localPort: PORT, address: "10.0.0.1", port: 1001 });
  expect(records).toMatchObject([
    { allowed: false, flow: flows[0]!.number },
    { allowed: false, flow: flows[0]!.number + 1 },
  ]);
});
