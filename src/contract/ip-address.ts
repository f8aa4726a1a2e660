import { isIPv4, isIPv6 } from "node:net";

const MAX_TEXT = 45;

/** An IPv4 or IPv6 address, as its bytes. Immutable; two of one address have one `text`. */
export class IpAddress {
  readonly version: 4 | 6;
  /** 4 or 16 bytes, in network order. Not to be written to. */
  readonly bytes: Uint8Array;
  #text: string | undefined;

  /** Throws RangeError unless there are 4 or 16 bytes. They are not copied. */
  constructor(bytes: Uint8Array) {
    if (bytes.length !== 4 && bytes.length !== 16)
      throw new RangeError(`${bytes.length} bytes are no address`);
    this.version = bytes.length === 4 ? 4 : 6;
    this.bytes = bytes;
  }

  /** Four decimal numbers, or IPv6 in any of its spellings without a zone; undefined for anything else. */
  static parse(text: string): IpAddress | undefined {
    if (text.length > MAX_TEXT) return undefined;
    if (isIPv4(text)) return new IpAddress(Uint8Array.from(text.split("."), Number));
    if (!isIPv6(text) || text.includes("%")) return undefined;
    return new IpAddress(parseIpv6(text));
  }

  /** The canonical spelling (RFC 5952; the IPv4 form of mapped addresses is not used). */
  get text(): string {
    this.#text ??= this.version === 4 ? this.bytes.join(".") : ipv6Text(this.bytes);
    return this.#text;
  }

  equals(other: IpAddress): boolean {
    if (this.version !== other.version) return false;
    // Asked for each packet: every() takes four times as long.
    for (let i = 0; i < this.bytes.length; i++) if (this.bytes[i] !== other.bytes[i]) return false;
    return true;
  }

  toString(): string {
    return this.text;
  }
}

/** `text` is known to be IPv6 without a zone. */
function parseIpv6(text: string): Uint8Array {
  const [head, tail] = text.split("::").map(groupsOf) as [number[], number[]?];
  const bytes = new Uint8Array(16);
  bytes.set(head, 0);
  if (tail !== undefined) bytes.set(tail, 16 - tail.length);
  return bytes;
}

function groupsOf(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (group.includes(".")) return group.split(".").map(Number);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}

function ipv6Text(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! << 8) | bytes[2 * i + 1]!);
  const zeros = longestZeros(groups);
  const hex = groups.map((group) => group.toString(16));
  if (zeros.length < 2) return hex.join(":");
  return `${hex.slice(0, zeros.start).join(":")}::${hex.slice(zeros.start + zeros.length).join(":")}`;
}

/** The first of the longest runs of zero groups. */
function longestZeros(groups: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}
