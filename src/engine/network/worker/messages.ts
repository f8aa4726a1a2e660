import type { ErrorBody } from "../../../contract/errors.ts";
import { IpAddress } from "../../../contract/ip-address.ts";
import type { NetworkSpec, PublishedPort } from "../../../contract/network.ts";
import type {
  NetworkExplanation,
  NetworkQuestion,
  NetworkRecord,
  NetworkStatistics,
} from "../../../contract/network-record.ts";
import type { ResolverAddress } from "../dns/host-resolvers.ts";
import type { GuestLink, LinkEnd } from "../guest-link.ts";

/** What the daemon's main thread and the threads of the network say to each other: plain data only. */

/** A network's spec with its rules as text. */
export type StackSpec = Omit<NetworkSpec, "rules"> & { rules: string[] };

export interface StackSettings {
  /** Targets by the name of their set, as text. */
  sets: Record<string, string[]>;
  /** Whom to ask about names. Default: the host's resolvers. */
  resolvers?: ResolverAddress[] | undefined;
  /** URL of a SOCKS5 or HTTP proxy for everything that is not the host's own. */
  proxy?: string | undefined;
  /** The proxy is given names where they are known, and looks them up. Default: addresses. */
  proxyNames?: boolean | undefined;
}

export interface StackOptions {
  id: string;
  /** Of the sandbox: what fellows of its group know it by. */
  name: string;
  link: LinkText;
  spec: StackSpec;
  settings: StackSettings;
  /** A port or a capture file that cannot be had is told of, and no error; a capture goes on with its file. */
  spared: boolean;
}

/** A link without its classes, which do not travel. */
export interface LinkText {
  mtu: number;
  guest: EndText;
  group?: EndText["addresses"] | undefined;
  gateway: EndText;
  host: string[];
}

interface EndText {
  mac: string;
  addresses: { address: string; prefix: number }[];
}

export function linkToText({ mtu, guest, group, gateway, host }: GuestLink): LinkText {
  const text = (addresses: LinkEnd["addresses"]): EndText["addresses"] =>
    addresses.map(({ address, prefix }) => ({ address: address.text, prefix }));
  return {
    mtu,
    guest: { mac: guest.mac, addresses: text(guest.addresses) },
    group: group && text(group),
    gateway: { mac: gateway.mac, addresses: text(gateway.addresses) },
    host: host.map(({ text }) => text),
  };
}

export function linkFromText({ mtu, guest, group, gateway, host }: LinkText): GuestLink {
  const parsed = (addresses: EndText["addresses"]): LinkEnd["addresses"] =>
    addresses.map(({ address, prefix }) => ({ address: IpAddress.parse(address)!, prefix }));
  return {
    mtu,
    guest: { mac: guest.mac, addresses: parsed(guest.addresses) },
    group: group && parsed(group),
    gateway: { mac: gateway.mac, addresses: parsed(gateway.addresses) },
    host: host.map((text) => IpAddress.parse(text)!),
  };
}

/** What is asked of a thread, and what it answers. */
export interface Calls {
  /** Listens on the published ports; the sandbox's machine need not be there. */
  attach: { ask: StackOptions; answer: PublishedPort[] };
  /** Answers when the link is up. It is kept up from then on. */
  connect: { ask: { id: string; socket: string; timeoutMs: number }; answer: undefined };
  update: { ask: { id: string; spec: StackSpec; settings: StackSettings }; answer: undefined };
  test: { ask: { id: string; question: NetworkQuestion }; answer: NetworkExplanation };
  statistics: { ask: { id: string }; answer: NetworkStatistics };
  detach: { ask: { id: string }; answer: undefined };
}

export type CallName = keyof Calls;

export type ToThread = {
  [Name in CallName]: { call: Name; number: number; ask: Calls[Name]["ask"] };
}[CallName];

export type FromThread =
  | { say: "answer"; number: number; answer: unknown }
  | { say: "error"; number: number; error: ErrorBody }
  | FromStack;

/** What a sandbox's stack says by itself. */
export type FromStack =
  | { say: "records"; id: string; records: FlowRecord[] }
  | { say: "flows"; id: string; flows: BegunFlow[] }
  | { say: "event"; id: string; event: NetworkEvent }
  /** Somebody comes to a port of it. */
  | { say: "visited"; id: string };

/** A record on its way to the log; `flow` is the number of a flow that was told of when it began. */
export type FlowRecord = NetworkRecord & { flow?: number };

/** A flow of the guest that has just begun. */
export interface BegunFlow {
  number: number;
  protocol: "tcp" | "udp";
  /** The guest's own. */
  localPort: number;
  address: string;
  port: number;
}

/** Something that happened to a sandbox's network, for people. */
export interface NetworkEvent {
  type:
    | "network.port-lost"
    | "network.restarted"
    | "network.failed"
    | "network.link-broken"
    | "network.capture-ended";
  message: string;
}
