import { IpAddress } from "./ip-address.ts";

/** A block of addresses, `10.0.0.0/8` or `2001:db8::/32`. Immutable; one block has one `text`. */
export class IpPrefix {
  /** The first address of the block. */
  readonly base: IpAddress;
  /** How many leading bits its addresses share: 0 to 32, or to 128. */
  readonly length: number;

  /** Throws RangeError where the length does not fit or `base` has bits set beyond it. */
  constructor(base: IpAddress, length: number) {
    if (!Number.isInteger(length) || length < 0 || length > base.bytes.length * 8)
      throw new RangeError(`/${length} is no length of an IPv${base.version} prefix`);
    if (!masked(base, length).equals(base))
      throw new RangeError(`${base.text} has bits set beyond /${length}`);
    this.base = base;
    this.length = length;
  }

  /** An address alone is a block of one. Undefined for anything that is neither; bits beyond the length are refused too. */
  static parse(text: string): IpPrefix | undefined {
    const [address, length, ...rest] = text.split("/", 3);
    const base = IpAddress.parse(address!);
    if (base === undefined || rest.length > 0) return undefined;
    if (length === undefined) return IpPrefix.of(base);
    if (!/^(?:0|[1-9]\d{0,2})$/.test(length) || Number(length) > base.bytes.length * 8) return undefined;
    if (!masked(base, Number(length)).equals(base)) return undefined;
    return new IpPrefix(base, Number(length));
  }

  /** The block of this address and no other. */
  static of(address: IpAddress): IpPrefix {
    return new IpPrefix(address, address.bytes.length * 8);
  }

  /** The block of `length` bits that `address` lies in. */
  static around(address: IpAddress, length: number): IpPrefix {
    return new IpPrefix(masked(address, length), length);
  }

  /** It holds exactly one address. */
  get single(): boolean {
    return this.length === this.base.bytes.length * 8;
  }

  /** `address/length`; a block of one is spelled as its address. */
  get text(): string {
    return this.single ? this.base.text : `${this.base.text}/${this.length}`;
  }

  contains(address: IpAddress): boolean {
    if (address.version !== this.base.version) return false;
    const whole = this.length >> 3;
    for (let i = 0; i < whole; i++) if (address.bytes[i] !== this.base.bytes[i]) return false;
    const rest = this.length & 7;
    return rest === 0 || ((address.bytes[whole]! ^ this.base.bytes[whole]!) & (0xff << (8 - rest))) === 0;
  }
}

function masked(address: IpAddress, length: number): IpAddress {
  return new IpAddress(
    address.bytes.map((byte, i) => {
      const kept = Math.max(0, Math.min(8, length - 8 * i));
      return byte & (0xff << (8 - kept)) & 0xff;
    }),
  );
}
