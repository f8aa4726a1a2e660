import { randomInt } from "node:crypto";
import type { IpAddress } from "../../../contract/ip-address.ts";
import type { FlowAddress } from "../flow.ts";
import type { AuditRecord } from "../outward/audit.ts";
import type { GuestDatagrams, GuestStream } from "../outward/guest-side.ts";
import type { TokenBucket } from "../outward/token-bucket.ts";
import type { NetworkPolicy } from "../policy/policy.ts";

/** A sandbox as the others of its group have to do with it. */
export interface Fellow {
  /** Of the sandbox, which is its host name within the group. */
  readonly name: string;
  /** Its addresses within the group, one of each version. */
  readonly addresses: readonly IpAddress[];
  /** Its own, asked at every decision: rules change while it runs. */
  policy(): NetworkPolicy;
  readonly gateway: {
    readonly tcp: { connect(flow: FlowAddress, signal?: AbortSignal): Promise<GuestStream> };
    /** Undefined if there is a flow with these addresses and ports. */
    openUdp(flow: FlowAddress): GuestDatagrams | undefined;
  };
  readonly egress?: TokenBucket | undefined;
  readonly ingress?: TokenBucket | undefined;
  audit?(record: AuditRecord): void;
  /** Hears of each fellow that is let in, before its guest does. */
  visited?(): void;
}

export const GROUP_ZONE = "group.internal";

/** What a fellow is called, the full name first. */
export function namesOf({ name }: Pick<Fellow, "name">): string[] {
  return [`${name}.${GROUP_ZONE}`, name];
}

export function addressOf({ addresses }: Pick<Fellow, "addresses">, version: 4 | 6): IpAddress {
  return addresses.find((address) => address.version === version)!;
}

/**
 * A guest may use one port from each of its addresses, which are one to a fellow: its own is tried first, and then so many others.
 */
const OTHER_PORTS = 3;

export function* sourcePorts(own: number): Generator<number, void> {
  yield own;
  for (let i = 0; i < OTHER_PORTS; i++) yield randomInt(32_768, 65_536);
}
