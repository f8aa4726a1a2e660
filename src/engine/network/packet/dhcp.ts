/**
 * DHCPv4 messages (RFC 2131, RFC 2132): of a client's what a server with one lease needs, and the server's answers. Reading copies
 * nothing and never throws. Bounds: options are gone through once, to the end of the datagram; an option that is said to lie in the
 * fields for names (option 52) is not looked for there.
 */
import { IpAddress } from "../../../contract/ip-address.ts";
import { readUint32, writeUint16, writeUint32 } from "./big-endian.ts";
import { MAC_BYTES } from "./ethernet.ts";

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;

export const DHCP_TYPE = { discover: 1, offer: 2, request: 3, ack: 5, nak: 6, inform: 8 } as const;

const BOOT_REQUEST = 1;
const BOOT_REPLY = 2;
const HARDWARE_ETHERNET = 1;
const COOKIE = 0x63825363;
const COOKIE_AT = 236;
const OPTIONS_AT = 240;
/** BOOTP's: some clients take no less. */
const SHORTEST = 300;

const OPTION = {
  pad: 0,
  subnetMask: 1,
  router: 3,
  dnsServers: 6,
  mtu: 26,
  requestedAddress: 50,
  leaseTime: 51,
  messageType: 53,
  serverId: 54,
  end: 255,
};

export interface DhcpRequest {
  type: number;
  transaction: number;
  /** Whether the client can only hear broadcasts as yet. */
  broadcast: boolean;
  /** What the client uses already; 0.0.0.0 if nothing. */
  clientAddress: IpAddress;
  mac: Uint8Array;
  requested: IpAddress | undefined;
  /** Whose offer is taken. */
  server: IpAddress | undefined;
}

/** A client's message; undefined for anything else. */
export function parseDhcpRequest(bytes: Uint8Array): DhcpRequest | undefined {
  if (bytes.length < OPTIONS_AT || bytes[0] !== BOOT_REQUEST) return undefined;
  if (bytes[1] !== HARDWARE_ETHERNET || bytes[2] !== MAC_BYTES || readUint32(bytes, COOKIE_AT) !== COOKIE)
    return undefined;
  const options = readOptions(bytes.subarray(OPTIONS_AT));
  const type = options?.get(OPTION.messageType);
  if (options === undefined || type?.length !== 1) return undefined;
  return {
    type: type[0]!,
    transaction: readUint32(bytes, 4),
    broadcast: (bytes[10]! & 0x80) !== 0,
    clientAddress: new IpAddress(bytes.subarray(12, 16)),
    mac: bytes.subarray(28, 28 + MAC_BYTES),
    requested: addressIn(options.get(OPTION.requestedAddress)),
    server: addressIn(options.get(OPTION.serverId)),
  };
}

/** The first of each kind counts. Undefined if one is cut off; what follows the end is not looked at. */
function readOptions(bytes: Uint8Array): Map<number, Uint8Array> | undefined {
  const options = new Map<number, Uint8Array>();
  let at = 0;
  while (at < bytes.length && bytes[at] !== OPTION.end) {
    const kind = bytes[at]!;
    if (kind === OPTION.pad) {
      at++;
      continue;
    }
    const length = bytes[at + 1];
    if (length === undefined || at + 2 + length > bytes.length) return undefined;
    if (!options.has(kind)) options.set(kind, bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return options;
}

function addressIn(value: Uint8Array | undefined): IpAddress | undefined {
  return value?.length === 4 ? new IpAddress(value) : undefined;
}

export interface DhcpReply {
  type: number;
  server: IpAddress;
  /** The client's address from now on; none in answers to "inform", and in refusals. */
  address?: IpAddress;
  /** Seconds. */
  leaseS?: number;
  /** None in refusals. */
  network?: { prefix: number; router: IpAddress; dnsServers: readonly IpAddress[]; mtu: number };
}

export function buildDhcpReply(request: DhcpRequest, reply: DhcpReply): Uint8Array {
  const options: number[] = [OPTION.messageType, 1, reply.type, OPTION.serverId, 4, ...reply.server.bytes];
  if (reply.leaseS !== undefined) options.push(OPTION.leaseTime, 4, ...uint32Bytes(reply.leaseS));
  if (reply.network !== undefined) {
    const { prefix, router, dnsServers, mtu } = reply.network;
    const mask = prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0;
    options.push(OPTION.subnetMask, 4, ...uint32Bytes(mask));
    options.push(OPTION.router, 4, ...router.bytes);
    options.push(OPTION.dnsServers, 4 * dnsServers.length, ...dnsServers.flatMap(({ bytes }) => [...bytes]));
    options.push(OPTION.mtu, 2, mtu >>> 8, mtu & 0xff);
  }
  options.push(OPTION.end);
  const bytes = new Uint8Array(Math.max(SHORTEST, OPTIONS_AT + options.length));
  bytes[0] = BOOT_REPLY;
  bytes[1] = HARDWARE_ETHERNET;
  bytes[2] = MAC_BYTES;
  writeUint32(bytes, 4, request.transaction);
  writeUint16(bytes, 10, request.broadcast ? 0x8000 : 0);
  bytes.set(request.clientAddress.bytes, 12);
  if (reply.address !== undefined) bytes.set(reply.address.bytes, 16);
  bytes.set(request.mac, 28);
  writeUint32(bytes, COOKIE_AT, COOKIE);
  bytes.set(options, OPTIONS_AT);
  return bytes;
}

function uint32Bytes(value: number): number[] {
  const bytes = new Uint8Array(4);
  writeUint32(bytes, 0, value);
  return [...bytes];
}
