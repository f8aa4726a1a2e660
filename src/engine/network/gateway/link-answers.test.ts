import { describe, expect, test } from "vitest";
import { groupLink } from "../guest-link.ts";
import { ARP_REPLY, ARP_REQUEST, buildArp, parseArp } from "../packet/arp.ts";
import { BROADCAST_MAC, ETHERTYPE, parseEthernet, writeEthernetHeader } from "../packet/ethernet.ts";
import { ip } from "../testing/packets.ts";
import { GATEWAY, GATEWAY_MAC, GUEST, GUEST_MAC, REMOTE, WiredGateway } from "./testing/wired-gateway.ts";

const NOBODY = new Uint8Array(6);

function arpFrame(fields: Partial<Parameters<typeof buildArp>[0]>): Uint8Array {
  const frame = new Uint8Array(60);
  writeEthernetHeader(frame, { source: GUEST_MAC, destination: BROADCAST_MAC, type: ETHERTYPE.arp });
  const request = {
    operation: ARP_REQUEST,
    senderMac: GUEST_MAC,
    sender: GUEST[4],
    targetMac: NOBODY,
    target: GATEWAY[4],
  };
  frame.set(buildArp({ ...request, ...fields }), 14);
  return frame;
}

describe("ARP", () => {
  test.each(["10.209.0.1", "10.209.0.254", "10.210.0.9"])("%s is at the gateway's MAC", (target) => {
    const wired = new WiredGateway({ link: groupLink(2) });
    wired.gateway.receive(arpFrame({ target: ip(target) }));
    const frame = parseEthernet(wired.frames[0]!)!;
    expect([frame.destination, frame.source]).toEqual([GUEST_MAC, GATEWAY_MAC]);
    expect(parseArp(frame.payload)).toMatchObject({
      operation: ARP_REPLY,
      sender: ip(target),
      senderMac: GATEWAY_MAC,
      target: GUEST[4],
      targetMac: GUEST_MAC,
    });
  });

  test("nobody has other addresses, nor does anybody have the guest's", () => {
    const wired = new WiredGateway();
    for (const target of ["10.209.0.2", "10.209.0.3", "198.51.100.7"])
      wired.gateway.receive(arpFrame({ target: ip(target) }));
    expect(wired.frames).toEqual([]);
    expect(wired.gateway.drops.all()).toEqual({});
  });

  test.each([
    ["a question in the gateway's name", { sender: GATEWAY[4] }],
    ["an answer for the gateway", { operation: ARP_REPLY, sender: GATEWAY[4] }],
    ["an answer from no address", { operation: ARP_REPLY, sender: ip("0.0.0.0") }],
    ["another MAC than the frame's", { senderMac: GATEWAY_MAC }],
  ])("%s is dropped", (_, fields) => {
    const wired = new WiredGateway();
    wired.gateway.receive(arpFrame(fields));
    expect(wired.frames).toEqual([]);
    expect(wired.gateway.drops.all()).toEqual({ rogue: 1 });
  });
});

describe("neighbour discovery", () => {
  const ask = (target: string, tail: number[] = []) => ({
    type: 135,
    code: 0,
    rest: Uint8Array.from([0, 0, 0, 0, ...ip(target).bytes, ...tail]),
  });
  const solicited = ip("ff02::1:ff00:1");

  test.each([
    ["fd6d:7362::1", 0xe0],
    ["fe80::1", 0xe0],
    ["fd6d:7362::fe", 0x60],
  ])("%s is told", (target, flags) => {
    const wired = new WiredGateway();
    wired.icmp(solicited, ask(target), { hopLimit: 255 });
    const { type, rest, from } = wired.icmpReceived();
    expect([type, from, rest[0], [...rest.subarray(22)]]).toEqual([136, target, flags, [...GATEWAY_MAC]]);
  });

  test("whoever wants to have the gateway's address hears that it is taken", () => {
    const wired = new WiredGateway();
    wired.icmp(solicited, ask("fd6d:7362::1"), { source: ip("::"), hopLimit: 255 });
    const [packet] = wired.received();
    expect([packet?.destination.text, packet?.payload[0], packet?.payload[4]]).toEqual([
      "ff02::1",
      136,
      0xa0,
    ]);
    wired.icmp(solicited, ask("fd6d:7362::2"), { source: ip("::"), hopLimit: 255 });
    expect(wired.frames).toEqual([]);
  });

  test("a router is advertised to whoever asks", () => {
    const wired = new WiredGateway();
    wired.icmp(
      ip("ff02::2"),
      { type: 133, code: 0, rest: new Uint8Array(4) },
      { source: ip("fe80::5"), hopLimit: 255 },
    );
    const [packet] = wired.received();
    expect([packet?.source.text, packet?.destination.text, packet?.hopLimit, packet?.payload[0]]).toEqual([
      "fe80::1",
      "fe80::5",
      255,
      134,
    ]);
  });

  test.each([
    ["a router advertisement", "rogue", { type: 134, code: 0, rest: new Uint8Array(12) }, 255],
    ["a redirect", "rogue", { type: 137, code: 0, rest: new Uint8Array(36) }, 255],
    ["the gateway's address", "rogue", { ...ask("fd6d:7362::1"), type: 136 }, 255],
    ["a question from beyond the link", "malformed", ask("fd6d:7362::1"), 64],
    ["a question with an endless option", "malformed", ask("fd6d:7362::1", [1, 0, 0, 0, 0, 0, 0, 0]), 255],
  ] as const)("%s is dropped", (_, reason, message, hopLimit) => {
    const wired = new WiredGateway();
    wired.icmp(ip("ff02::1"), message, { hopLimit });
    wired.icmp(GATEWAY[6], message, { hopLimit });
    expect(wired.frames).toEqual([]);
    expect(wired.gateway.drops.all()).toEqual({ [reason]: 2 });
  });
});

describe("echo", () => {
  test.each([4, 6] as const)("of the gateway, IPv%d", (version) => {
    const wired = new WiredGateway();
    const rest = Uint8Array.of(1, 2, 3, 4, 5, 6, 7);
    wired.icmp(GATEWAY[version], { type: version === 4 ? 8 : 128, code: 0, rest });
    const parties = { from: GATEWAY[version].text, to: GUEST[version].text };
    const reply = { type: version === 4 ? 0 : 129, code: 0, rest, ...parties };
    expect(wired.icmpReceived()).toEqual(reply);
  });

  test.each([
    [4, 8, 3, 13],
    [6, 128, 1, 1],
  ] as const)("of others is prohibited, IPv%d", (version, echo, type, code) => {
    const wired = new WiredGateway();
    wired.icmp(REMOTE[version], { type: echo, code: 0, rest: new Uint8Array(4) });
    expect(wired.icmpReceived()).toMatchObject({ type, code, from: GATEWAY[version].text });
  });
});
