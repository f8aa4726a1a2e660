import { canonicalName } from "../../../contract/domain-name.ts";

/**
 * The name in a TLS ClientHello (RFC 8446, 4.1.2; RFC 6066, 3). Hostile input: lengths are checked against what is there, the
 * name may be given once, and anything that is not exactly the layout is an error, since a server might read it in another way.
 */

/** Of a message without its four bytes of type and length. */
export function nameInClientHello(body: Uint8Array): { name: string | undefined } | { error: string } {
  const reader = new Reader(body);
  reader.skip(2 + 32);
  reader.block(1);
  reader.block(2);
  reader.block(1);
  if (reader.failed) return { error: "a ClientHello that is cut short" };
  // Before TLS 1.3 there could be none.
  if (reader.done) return { name: undefined };
  const extensions = new Reader(reader.block(2));
  if (reader.failed || !reader.done) return { error: "a ClientHello with other bytes at its end" };
  let found: Uint8Array | undefined;
  while (!extensions.done) {
    const type = extensions.number(2);
    const data = extensions.block(2);
    if (extensions.failed) return { error: "an extension of the ClientHello is cut short" };
    if (type !== SERVER_NAME) continue;
    if (found !== undefined) return { error: "a ClientHello with two lists of names" };
    found = data;
  }
  return found === undefined ? { name: undefined } : nameInList(found);
}

const SERVER_NAME = 0;
const HOST_NAME = 0;

function nameInList(data: Uint8Array): { name: string } | { error: string } {
  const outer = new Reader(data);
  const list = new Reader(outer.block(2));
  const type = list.number(1);
  const bytes = list.block(2);
  if (outer.failed || !outer.done || list.failed || !list.done || type !== HOST_NAME)
    return { error: "a list of names that holds something else than one name" };
  const name = canonicalName(String.fromCharCode(...bytes));
  return name === undefined ? { error: "a name in the ClientHello that is no host name" } : { name };
}

/** Reads forwards; after something was not there, `failed` stays true and all that is read is empty. */
class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;
  failed = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.failed || this.#at === this.#bytes.length;
  }

  skip(length: number): Uint8Array {
    if (this.failed || this.#at + length > this.#bytes.length) {
      this.failed = true;
      return new Uint8Array();
    }
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  number(size: number): number {
    return this.skip(size).reduce((value, byte) => value * 256 + byte, 0);
  }

  /** Bytes after their length, which is of `size` bytes. */
  block(size: number): Uint8Array {
    return this.skip(this.number(size));
  }
}
