import { describe, expect, test } from "vitest";
import { PROTOCOL } from "../packet/ip-packet.ts";
import { parseUdp } from "../packet/udp.ts";
import { ip } from "../testing/packets.ts";
import { GATEWAY, GUEST, REMOTE, WiredGateway } from "./testing/wired-gateway.ts";

const bytes = (text: string) => new Uint8Array(Buffer.from(text));

async function read(flow: AsyncIterable<Uint8Array>, count: number): Promise<string[]> {
  const got: string[] = [];
  for await (const payload of flow) {
    got.push(Buffer.from(payload).toString());
    if (got.length === count) break;
  }
  return got;
}

describe.each([4, 6] as const)("IPv%d", (version) => {
  const remote = REMOTE[version];

  test("datagrams of one pair of addresses and ports are one flow, whose replies reach the guest", async () => {
    const wired = new WiredGateway();
    wired.udp(remote, 9, bytes("a"));
    wired.udp(remote, 9, bytes("b"));
    wired.udp(remote, 10, bytes("c"));
    wired.udp(GATEWAY[version], 9, bytes("d"));
    wired.udp(remote, 9, bytes("e"), { sourcePort: 40_001 });
    const [flow, ...others] = wired.flows;
    expect(others.length).toBe(3);
    expect([flow!.source.text, flow!.sourcePort]).toEqual([GUEST[version].text, 40_000]);
    expect([flow!.destination.text, flow!.destinationPort]).toEqual([remote.text, 9]);
    expect(await read(flow!, 2)).toEqual(["a", "b"]);
    expect(flow!.reply(bytes("answer"))).toBe(true);
    const [packet] = wired.received();
    expect([packet!.source.text, packet!.destination.text]).toEqual([remote.text, GUEST[version].text]);
    const answer = { sourcePort: 9, destinationPort: 40_000, payload: bytes("answer") };
    expect(parseUdp(packet!)).toEqual(answer);
    wired.gateway[Symbol.dispose]();
  });

  test.each([
    ["port", version === 4 ? [3, 3] : [1, 4], remote],
    ["host", version === 4 ? [3, 1] : [1, 3], GATEWAY[version]],
    ["network", version === 4 ? [3, 0] : [1, 0], GATEWAY[version]],
    ["prohibited", version === 4 ? [3, 13] : [1, 1], GATEWAY[version]],
  ] as const)("%s unreachable is said by whom it is to be, with what was sent", (code, numbers, from) => {
    const wired = new WiredGateway();
    wired.udp(remote, 9, bytes("question"));
    wired.flows[0]!.unreachable(code);
    wired.flows[0]!.close();
    const error = wired.icmpReceived();
    expect([error.type, error.code]).toEqual(numbers);
    expect(error.from).toBe(from.text);
    expect(Buffer.from(error.rest.subarray(4 + (version === 4 ? 28 : 48))).toString()).toBe("question");
  });

  test("the guest's port that is closed ends the flow", () => {
    const wired = new WiredGateway();
    const flow = wired.gateway.openUdp({
      source: remote,
      sourcePort: 5,
      destination: GUEST[version],
      destinationPort: 7,
    })!;
    flow.reply(bytes("hello?"));
    const quote = wired.frames[0]!.subarray(14);
    const [type, code] = version === 4 ? [3, 3] : [1, 4];
    const refuse = (about: Uint8Array) =>
      wired.icmp(remote, { type, code, rest: Uint8Array.from([0, 0, 0, 0, ...about]) });
    const others = Uint8Array.from(quote);
    others[version === 4 ? 19 : 39]! ^= 1;
    refuse(others);
    refuse(quote.subarray(0, 20));
    expect([flow.closed, wired.gateway.drops.get("protocol")]).toEqual([false, 2]);
    refuse(quote);
    expect([flow.closed, wired.gateway.udpFlows]).toEqual([true, 0]);
  });
});

test("a client of a published port and the guest talk to each other", async () => {
  const wired = new WiredGateway();
  const address = { source: REMOTE[4], sourcePort: 5000, destination: GUEST[4], destinationPort: 7 };
  const flow = wired.gateway.openUdp(address)!;
  expect(wired.gateway.openUdp(address)).toBeUndefined();
  flow.reply(bytes("from outside"));
  const [packet] = wired.received();
  expect(parseUdp(packet!)).toMatchObject({ sourcePort: 5000, destinationPort: 7 });
  wired.udp(REMOTE[4], 5000, bytes("from inside"), { sourcePort: 7 });
  expect([wired.flows, await read(flow, 1)]).toEqual([[], ["from inside"]]);
  flow.unreachable("port");
  expect(wired.frames).toEqual([]);
  wired.gateway[Symbol.dispose]();
  expect([flow.closed, flow.reply(bytes("late"))]).toEqual([true, false]);
});

test("a flow ends after its silence, later if there was a reply", async () => {
  const wired = new WiredGateway();
  wired.udp(REMOTE[4], 1, bytes("a"));
  wired.udp(REMOTE[4], 2, bytes("a"));
  const [silent, talking] = wired.flows;
  talking!.reply(bytes("b"));
  await wired.clock.pass(29_000);
  expect([silent!.closed, talking!.closed]).toEqual([false, false]);
  await wired.clock.pass(7_000);
  expect([silent!.closed, talking!.closed]).toEqual([true, false]);
  await wired.clock.pass(140_000);
  expect(talking!.closed).toBe(false);
  await wired.clock.pass(10_000);
  expect([talking!.closed, wired.gateway.udpFlows, wired.clock.waiting]).toEqual([true, 0, 0]);
  expect(await read(talking!, 9)).toEqual([]);
});

test("the flow that was silent for longest makes room for a new one", () => {
  const wired = new WiredGateway({ udp: { flows: 3 } });
  for (const port of [1, 2, 3]) wired.udp(REMOTE[4], port, bytes("a"));
  wired.udp(REMOTE[4], 1, bytes("b"));
  wired.udp(REMOTE[4], 4, bytes("a"));
  expect(wired.flows.map((flow) => flow.closed)).toEqual([false, true, false, false]);
  expect(wired.gateway.udpFlows).toBe(3);
});

test("what nobody reads is bounded, for a flow and for all", async () => {
  const wired = new WiredGateway({ udp: { queueBytes: 100_000 } });
  for (let i = 0; i < 100; i++) wired.udp(REMOTE[4], 1, bytes("a"));
  expect(wired.gateway.drops.get("queue")).toBe(36);
  for (let i = 0; i < 20; i++) wired.udp(REMOTE[4], 2, new Uint8Array(10_000));
  expect(wired.gateway.drops.get("queue")).toBe(36 + 11);
  expect((await read(wired.flows[0]!, 64)).length).toBe(64);
  wired.flows[1]!.close();
  for (let i = 0; i < 9; i++) wired.udp(REMOTE[4], 2, new Uint8Array(10_000));
  expect([wired.flows.length, wired.gateway.drops.get("queue")]).toEqual([3, 47]);
});

test("a datagram that came in pieces is one", async () => {
  const wired = new WiredGateway();
  const header = Uint8Array.of(0x9c, 0x40, 0, 9, 0, 24, 0, 0);
  const piece = (offset: number, more: boolean, payload: Uint8Array) =>
    wired.packet(
      {
        source: GUEST[4],
        destination: REMOTE[4],
        protocol: PROTOCOL.udp,
        fragment: { identification: 1, offset, more },
      },
      payload,
    );
  piece(16, false, bytes("ijklmnop"));
  piece(0, true, new Uint8Array([...header, ...bytes("abcdefgh")]));
  expect(await read(wired.flows[0]!, 1)).toEqual(["abcdefghijklmnop"]);
  wired.flows[0]!.unreachable("port");
  expect(wired.icmpReceived()).toMatchObject({ type: 3, code: 3 });
});

test("who waits for datagrams is woken when the flow closes", async () => {
  const wired = new WiredGateway();
  wired.udp(ip("198.51.100.9"), 1, bytes("a"));
  const got = read(wired.flows[0]!, 2);
  await wired.clock.pass(60_000);
  expect(await got).toEqual(["a"]);
});
