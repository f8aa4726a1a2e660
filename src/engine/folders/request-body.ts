import { Errno, FuseError, MAX_NAME_BYTES } from "./fuse-protocol.ts";

/** Reads the body of a request, field by field. What is too short or too long for its operation is EINVAL. */
export class RequestBody {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#take(4));
  }

  /** A number up to 2^53−1; a larger one is none that we would have given out, or could use. */
  u64(): number {
    const value = this.#bytes.readBigUInt64LE(this.#take(8));
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new FuseError(Errno.EINVAL);
    return Number(value);
  }

  /** Seconds before 1970 are negative. */
  i64(): number {
    const value = Number(this.#bytes.readBigInt64LE(this.#take(8)));
    if (!Number.isSafeInteger(value)) throw new FuseError(Errno.EINVAL);
    return value;
  }

  skip(length: number): void {
    this.#take(length);
  }

  bytes(length: number): Buffer {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** Bytes up to a NUL, at most `max` of them. */
  text(max: number): Buffer {
    const end = this.#bytes.indexOf(0, this.#at);
    if (end < 0) throw new FuseError(Errno.EINVAL);
    const text = this.#bytes.subarray(this.#at, end);
    if (text.length > max) throw new FuseError(Errno.ENAMETOOLONG);
    this.#at = end + 1;
    return text;
  }

  /** The name of an entry of a directory: never one that leads elsewhere. */
  name(): Buffer {
    const name = Buffer.from(this.text(MAX_NAME_BYTES));
    if (!isEntryName(name)) throw new FuseError(Errno.EINVAL);
    return name;
  }

  #take(length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) throw new FuseError(Errno.EINVAL);
    this.#at += length;
    return at;
  }
}

const SLASH = 0x2f;
const DOT = 0x2e;

/** Not empty, no slash, no NUL, neither `.` nor `..`. */
export function isEntryName(name: Buffer): boolean {
  if (name.length === 0 || name.length > MAX_NAME_BYTES || name.includes(SLASH) || name.includes(0))
    return false;
  return !(name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT)));
}
