import { type Cbor, decodeCbor } from "./cbor.ts";
import { violation } from "./violation.ts";

/**
 * Reads a map that the guest sent, field by field. Every method throws a violation when the field is missing, of
 * another type or out of its bounds; unknown keys are ignored, as the protocol wants.
 */
export class Fields {
  readonly #map: Map<string, Cbor>;
  readonly #where: string;

  constructor(value: Cbor | undefined, where: string) {
    if (!(value instanceof Map)) throw violation(`${where} is no map`);
    this.#map = value;
    this.#where = where;
  }

  /** The map that a control message is. */
  static ofMessage(payload: Buffer, where: string): Fields {
    return new Fields(decodeCbor(payload), where);
  }

  has(key: string): boolean {
    return this.#map.has(key);
  }

  keys(max: number): string[] {
    if (this.#map.size > max) throw violation(`${this.#where} has more than ${max} keys`);
    return [...this.#map.keys()];
  }

  /** An unsigned integer up to `max`, which is at most 2^53−1. */
  uint(key: string, max = Number.MAX_SAFE_INTEGER): number {
    return uintOf(this.#map.get(key), max, `${this.#where}, ${key}`);
  }

  /** An unsigned integer of up to 64 bits. */
  uint64(key: string): bigint {
    const value = this.#map.get(key);
    if ((typeof value !== "bigint" && typeof value !== "number") || value < 0)
      throw this.#wrong(key, "unsigned");
    return BigInt(value);
  }

  /** An integer of either sign that a number holds. */
  int(key: string): number {
    return intOf(this.#map.get(key), `${this.#where}, ${key}`);
  }

  bool(key: string): boolean {
    const value = this.#map.get(key);
    if (typeof value !== "boolean") throw this.#wrong(key, "true or false");
    return value;
  }

  /** A byte string of at most `max` bytes. */
  bytes(key: string, max: number): Buffer {
    const value = this.#map.get(key);
    if (!(value instanceof Uint8Array) || value.length > max)
      throw this.#wrong(key, `a byte string of at most ${max}`);
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  }

  true(key: string): true {
    if (this.#map.get(key) !== true) throw this.#wrong(key, "true");
    return true;
  }

  /** A text of at most `max` UTF-16 units, for programs: refused when it is longer. */
  word(key: string, max: number): string {
    const value = this.#map.get(key);
    if (typeof value !== "string" || value.length > max) throw this.#wrong(key, `a text of at most ${max}`);
    return printable(value);
  }

  /** A text for people: cut after `max` UTF-16 units. */
  prose(key: string, max: number): string {
    const value = this.#map.get(key);
    if (typeof value !== "string") throw this.#wrong(key, "a text");
    return printable(value.length > max ? `${value.slice(0, max)}…` : value);
  }

  list(key: string, max: number): Cbor[] {
    const value = this.#map.get(key);
    if (!Array.isArray(value) || value.length > max) throw this.#wrong(key, `an array of at most ${max}`);
    return value;
  }

  fields(key: string): Fields {
    return new Fields(this.#map.get(key), `${this.#where}, ${key}`);
  }

  #wrong(key: string, wanted: string) {
    return violation(`${this.#where}, ${key}: not ${wanted}`);
  }
}

export function uintOf(value: Cbor | undefined, max: number, where: string): number {
  if (typeof value !== "number" || value < 0 || value > max) {
    throw violation(`${where}: not an unsigned integer up to ${max}`);
  }
  return value;
}

export function intOf(value: Cbor | undefined, where: string): number {
  if (typeof value !== "number") throw violation(`${where}: not an integer up to 2^53-1`);
  return value;
}

export function wordOf(value: Cbor | undefined, max: number, where: string): string {
  if (typeof value !== "string" || value.length > max)
    throw violation(`${where}: not a text of at most ${max}`);
  return printable(value);
}

/** The guest's text ends up on terminals and in logs: it must not carry escape sequences there. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return text.replace(/[\0-\x08\x0b-\x1f\x7f-\x9f]/g, "\uFFFD");
}
