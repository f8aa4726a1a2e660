/** Why a frame of the guest, or something that was to be sent to it, went no further. */
export const DROP_REASONS = [
  /** Cut off, a wrong checksum, a header that says nonsense. */
  "malformed",
  /** A source that is not the sandbox's own. */
  "source-mac",
  "source-address",
  /** Claims to be who it is not: answers of ARP and NDP for others, router advertisements, DHCP servers. */
  "rogue",
  /** For somebody else's MAC, or for the sandbox itself. */
  "destination",
  /** For many: there is nobody else on the link. */
  "multicast",
  /** A protocol that nobody here knows, of which one does not tell. */
  "protocol",
  /** Pieces that overlap, are too many, or never became whole. */
  "fragment",
  /** A datagram for which a queue had no room. */
  "queue",
  /** Towards the guest: it takes less than is sent. */
  "link-full",
  /** More frames a second than the sandbox's limits allow. */
  "packet-rate",
  /** An ICMP error, of which there were many. */
  "rate-limit",
] as const;

export type DropReason = (typeof DROP_REASONS)[number];

export class DropCounts {
  readonly #counts = new Map<DropReason, number>();

  add(reason: DropReason, count = 1): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + count);
  }

  get(reason: DropReason): number {
    return this.#counts.get(reason) ?? 0;
  }

  /** Those that happened. */
  all(): Partial<Record<DropReason, number>> {
    return Object.fromEntries(this.#counts);
  }
}
