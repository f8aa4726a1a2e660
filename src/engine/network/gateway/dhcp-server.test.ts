import { expect, test } from "vitest";
import { BROADCAST_MAC } from "../packet/ethernet.ts";
import { buildUdpHeader, parseUdp } from "../packet/udp.ts";
import { ethernetFrame, ip, ipPacket } from "../testing/packets.ts";
import { GATEWAY_MAC, GUEST_MAC, WiredGateway } from "./testing/wired-gateway.ts";

interface Asked {
  type: number;
  requested?: string;
  server?: string;
  clientAddress?: string;
  mac?: Uint8Array;
  source?: string;
  destination?: string;
}

function ask(wired: WiredGateway, asked: Asked): void {
  const message = new Uint8Array(300);
  message.set([1, 1, 6, 0, 1, 2, 3, 4], 0);
  message.set(ip(asked.clientAddress ?? "0.0.0.0").bytes, 12);
  message.set(asked.mac ?? GUEST_MAC, 28);
  const options = [53, 1, asked.type];
  if (asked.requested !== undefined) options.push(50, 4, ...ip(asked.requested).bytes);
  if (asked.server !== undefined) options.push(54, 4, ...ip(asked.server).bytes);
  message.set([0x63, 0x82, 0x53, 0x63, ...options, 255], 236);
  const source = ip(asked.source ?? "0.0.0.0");
  const destination = ip(asked.destination ?? "255.255.255.255");
  const header = buildUdpHeader(source, destination, { sourcePort: 68, destinationPort: 67 }, message);
  const packet = ipPacket({ source, destination, protocol: 17 }, header, message);
  wired.gateway.receive(ethernetFrame(GUEST_MAC, asked.destination ? GATEWAY_MAC : BROADCAST_MAC, packet));
}

/** Message type, the address that is given, who it was sent to; undefined if there was no answer. */
function answer(wired: WiredGateway): [number, string, string] | undefined {
  const [packet] = wired.received();
  if (packet === undefined) return undefined;
  const { payload, sourcePort, destinationPort } = parseUdp(packet)!;
  expect([sourcePort, destinationPort, payload[0], payload[242]! >= 2]).toEqual([67, 68, 2, true]);
  return [payload[242]!, payload.subarray(16, 20).join("."), packet.destination.text];
}

const OWN = "10.209.0.2";

test.each([
  ["whoever looks for one is offered the address", { type: 1 }, [2, OWN, "255.255.255.255"]],
  ["and gets it", { type: 3, requested: OWN, server: "10.209.0.1" }, [5, OWN, "255.255.255.255"]],
  ["also after a restart", { type: 3, requested: OWN }, [5, OWN, "255.255.255.255"]],
  ["and may keep it", { type: 3, clientAddress: OWN, source: OWN, destination: "10.209.0.1" }, [5, OWN, OWN]],
  ["but no other one", { type: 3, requested: "10.209.0.9" }, [6, "0.0.0.0", "255.255.255.255"]],
  ["who has it may ask for the rest", { type: 8, clientAddress: OWN, source: OWN }, [5, "0.0.0.0", OWN]],
  [
    "who takes another server's offer is left alone",
    { type: 3, requested: OWN, server: "10.209.0.7" },
    undefined,
  ],
  ["who gives it back hears nothing", { type: 7, clientAddress: OWN, source: OWN }, undefined],
  ["another MAC gets nothing", { type: 1, mac: GATEWAY_MAC }, undefined],
] as [string, Asked, unknown][])("%s", (_, asked, expected) => {
  const wired = new WiredGateway();
  ask(wired, asked);
  expect(answer(wired)).toEqual(expected);
  expect(wired.flows).toEqual([]);
});
