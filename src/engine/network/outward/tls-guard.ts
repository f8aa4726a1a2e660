import { nameInClientHello } from "./client-hello.ts";
import type { Guard, GuardResult, NameCheck } from "./guard.ts";

/**
 * Follows the records of a TLS client (RFC 8446, 5.1). The first message must be a ClientHello whose name passes the check. A
 * server may ask for a second one (HelloRetryRequest), after early data even, and some servers go by the name in that: so the
 * records are followed to the end, and every plain ClientHello is checked. Only handshake records are looked into; of others the
 * length counts. An encrypted message passes for a ClientHello with a chance of 2^-32, and then ends the connection.
 *
 * Bounds: a ClientHello of 16 KiB, in however many records, plus 5 bytes for each of at most 1,024 of them.
 */

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const MAX_HELLO = 16 * 1024;
const MAX_RECORD = 16 * 1024 + 2048;
const MAX_FRAGMENTS = 1024;
/** Type, length, and the version that all ClientHellos since 2008 carry, or its predecessors. */
const PREFIX = 6;

export class TlsGuard implements Guard {
  readonly #check: NameCheck;
  readonly #header = Buffer.alloc(5);
  #headerBytes = 0;
  /** Bytes of the current record that are still to come. */
  #left = 0;
  /** The current record may hold a ClientHello. */
  #looking = false;
  #message = Buffer.alloc(0);
  #messageBytes = 0;
  #fragments = 0;
  #first = true;
  /** Not yet let out. */
  #held: Buffer[] = [];

  constructor(check: NameCheck) {
    this.#check = check;
  }

  push(chunk: Buffer): GuardResult {
    /** Up to here all is understood. */
    let clear = 0;
    const pass: Buffer[] = [];
    let at = 0;
    while (at < chunk.length) {
      if (this.#left === 0) {
        const taken = Math.min(5 - this.#headerBytes, chunk.length - at);
        chunk.copy(this.#header, this.#headerBytes, at, at + taken);
        this.#headerBytes += taken;
        at += taken;
        if (this.#headerBytes < 5) break;
        const problem = this.#startRecord();
        if (problem !== undefined) return refuse(problem);
        // An empty record has no more to it than its head.
        if (this.#left === 0) continue;
      }
      const taken = Math.min(this.#left, chunk.length - at);
      const problem = this.#looking ? this.#look(chunk.subarray(at, at + taken)) : undefined;
      if (problem !== undefined) return refuse(problem);
      this.#left -= taken;
      at += taken;
      if (!this.#looking) {
        pass.push(...this.#held.splice(0), chunk.subarray(clear, at));
        clear = at;
      }
    }
    if (clear < chunk.length) this.#held.push(chunk.subarray(clear));
    return { pass };
  }

  #startRecord(): string | undefined {
    const type = this.#header[0]!;
    this.#headerBytes = 0;
    this.#left = this.#header.readUInt16BE(3);
    if (type < 20 || type > 24 || this.#header[1] !== 3 || this.#left > MAX_RECORD)
      return "bytes that are not TLS";
    if (type === HANDSHAKE) {
      this.#looking = true;
      this.#fragments += 1;
      // RFC 8446, 5.1 forbids empty fragments of handshake messages.
      return this.#left === 0 || this.#fragments > MAX_FRAGMENTS
        ? "a handshake in too many pieces"
        : undefined;
    }
    if (this.#first) return "TLS without a ClientHello";
    if (this.#messageBytes > 0 && this.#message[0] === CLIENT_HELLO)
      return "a ClientHello with other records in between";
    if (this.#left === 0 && type !== 23) return "an empty TLS record";
    this.#forget();
    return undefined;
  }

  /** The problem, if there is one; stops looking once the message is known. */
  #look(bytes: Buffer): string | undefined {
    if (this.#message.length === 0) this.#message = Buffer.alloc(MAX_HELLO + 4);
    const taken = bytes.copy(this.#message, this.#messageBytes);
    this.#messageBytes += taken;
    const message = this.#message.subarray(0, this.#messageBytes);
    if (message.length < PREFIX) return undefined;
    const length = message.readUIntBE(1, 3);
    const isHello = message[0] === CLIENT_HELLO && message[1] === 0 && message[4] === 3 && message[5]! <= 4;
    if (!isHello) {
      if (this.#first) return "TLS without a ClientHello";
      return this.#forget();
    }
    if (length > MAX_HELLO) return "a ClientHello of more than 16 KiB";
    if (message.length < 4 + length) return undefined;
    const found = nameInClientHello(message.subarray(4, 4 + length));
    if ("error" in found) return found.error;
    this.#first = false;
    this.#forget();
    return this.#check(found.name);
  }

  #forget(): undefined {
    this.#looking = false;
    this.#messageBytes = 0;
    this.#message = Buffer.alloc(0);
    this.#fragments = 0;
  }
}

const refuse = (reason: string): GuardResult => ({ pass: [], refusal: { reason, speaks: "tls" } });
