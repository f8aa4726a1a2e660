import { IpAddress } from "../../../contract/ip-address.ts";
import { IpPrefix } from "../../../contract/ip-prefix.ts";
import { NAT64_LENGTHS, nat64Bytes } from "../policy/embedded.ts";
import { CLASS_IN, TYPE } from "./record-types.ts";
import type { Resolver } from "./resolver.ts";
import { labelsOf } from "./wire-name.ts";

/**
 * By which prefixes the host's network translates IPv6 to IPv4 (RFC 7050): a name that has IPv4 addresses alone is asked for its IPv6
 * ones, and a resolver that makes such addresses up shows in them how. Asked anew every ten minutes, and at once when the host's
 * addresses are others, as a laptop's are in another network. Without an IPv6 address nothing is asked. Bounds: 16 prefixes.
 *
 * A network may also announce its prefix in router advertisements alone (RFC 8781), which a program does not see.
 */

const NAME = labelsOf("ipv4only.arpa");
/** All that the name's IPv4 addresses ever are (RFC 7050, 2.2). */
const WELL_KNOWN: readonly Uint8Array[] = ["192.0.0.170", "192.0.0.171"].map(
  (text) => IpAddress.parse(text)!.bytes,
);
const EVERY_MS = 600_000;
/** As often where nobody answered. */
const RETRY_MS = 30_000;
const MAX_PREFIXES = 16;

export interface Nat64Options {
  /** The host's own: another one need not know of the network's translator. */
  resolver: Resolver;
  /** The host's addresses, canonical. */
  addresses: () => ReadonlySet<string>;
  /** Monotonic ms. */
  now?: () => number;
}

export class Nat64Prefixes {
  readonly #options: Nat64Options;
  readonly #now: () => number;
  #prefixes: readonly IpPrefix[] = [];
  /** The addresses that these prefixes were asked for with. */
  #network = "";
  #askAt = -Infinity;
  #asking: Promise<void> | undefined;
  #known = true;

  constructor(options: Nat64Options) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** As far as they are known. */
  prefixes(): readonly IpPrefix[] {
    this.#look();
    return this.#prefixes;
  }

  /** While nothing is known of this network yet: resolves when something is, or when nobody answered. Never rejects. */
  unknown(): Promise<void> | undefined {
    this.#look();
    return this.#known ? undefined : this.#asking;
  }

  #look(): void {
    const network = [...this.#options.addresses()].filter(isGlobal6).sort().join();
    if (network !== this.#network) {
      this.#network = network;
      this.#askAt = -Infinity;
      this.#known = network === "";
      this.#asking = undefined;
      if (this.#known) this.#prefixes = [];
    }
    if (network === "" || this.#asking !== undefined || this.#now() < this.#askAt) return;
    const asking: Promise<void> = this.#ask().then((prefixes) => {
      if (this.#asking !== asking) return;
      this.#askAt = this.#now() + (prefixes === undefined ? RETRY_MS : EVERY_MS);
      if (prefixes !== undefined) this.#prefixes = prefixes;
      this.#known = true;
      this.#asking = undefined;
    });
    this.#asking = asking;
  }

  async #ask(): Promise<IpPrefix[] | undefined> {
    const question = { labels: NAME, type: TYPE.AAAA, class: CLASS_IN };
    const { signal } = new AbortController();
    try {
      const { answers } = await this.#options.resolver.resolve(question, { dnssec: false, signal });
      const prefixes = answers
        .filter(({ type, data }) => type === TYPE.AAAA && data.length === 16)
        .flatMap(({ data }) => prefixesIn(data));
      return [...new Map(prefixes.map((prefix) => [prefix.text, prefix])).values()].slice(0, MAX_PREFIXES);
    } catch {
      return undefined;
    }
  }
}

/** An address may be read in several ways; all are taken. */
function prefixesIn(bytes: Uint8Array): IpPrefix[] {
  const address = new IpAddress(Uint8Array.from(bytes));
  return NAT64_LENGTHS.filter((length) => {
    const at = nat64Bytes(length)!;
    return WELL_KNOWN.some((known) => known.every((byte, i) => bytes[at[i]!] === byte));
  }).map((length) => IpPrefix.around(address, length));
}

const LOCAL = ["::1/128", "fe80::/10"].map((text) => IpPrefix.parse(text)!);

function isGlobal6(text: string): boolean {
  const address = IpAddress.parse(text);
  return address?.version === 6 && !LOCAL.some((local) => local.contains(address));
}
