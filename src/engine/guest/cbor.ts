import { isUtf8 } from "node:buffer";
import { type DecodeOptions, decode, encode, type Token, Tokenizer, Type } from "cborg";
import { violation } from "./violation.ts";

/** The subset of CBOR that control messages use. Source: spec/agent-protocol.md, "Control messages". */

export const MAX_DEPTH = 8;
export const MAX_ELEMENTS = 65_536;

/** What decoding gives. Maps stay maps: a hostile key like `__proto__` is then a key like any other. */
export type Cbor = number | bigint | string | boolean | null | Uint8Array | Cbor[] | Map<string, Cbor>;

const strict: DecodeOptions = {
  strict: true,
  useMaps: true,
  rejectDuplicateMapKeys: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowBigInt: true,
  retainStringBytes: true,
};

const MIN_INT = -(2n ** 63n);

/** cborg's tokens, minus what the subset does not have. cborg would nest and count without bound. */
class BoundedTokenizer extends Tokenizer {
  #elements = 0;
  // How many items each open array or map still waits for; a map waits for keys at even numbers.
  readonly #open: { left: number; isMap: boolean }[] = [];

  override next(): Token {
    const token = super.next();
    this.#elements += 1;
    if (this.#elements > MAX_ELEMENTS) throw new Error(`more than ${MAX_ELEMENTS} elements`);
    const { type } = token;
    if (Type.equals(type, Type.float)) throw new Error("a floating-point number");
    if (Type.equals(type, Type.tag)) throw new Error("a tag");
    if (Type.equals(type, Type.negint) && BigInt(token.value) < MIN_INT)
      throw new Error("an integer below -2^63");
    if (Type.equals(type, Type.string)) readText(token);

    while (this.#open.at(-1)?.left === 0) this.#open.pop();
    const parent = this.#open.at(-1);
    if (parent !== undefined) {
      if (parent.isMap && parent.left % 2 === 0 && !Type.equals(type, Type.string)) {
        throw new Error("a map's key that is no text");
      }
      parent.left -= 1;
    }
    const isMap = Type.equals(type, Type.map);
    if (isMap || Type.equals(type, Type.array)) {
      const left = isMap ? token.value * 2 : token.value;
      if (left > MAX_ELEMENTS) throw new Error(`more than ${MAX_ELEMENTS} elements`);
      this.#open.push({ left, isMap });
      if (this.#open.length > MAX_DEPTH) throw new Error(`nesting above ${MAX_DEPTH}`);
    }
    return token;
  }
}

/** cborg replaces invalid UTF-8 and drops a byte order mark; the protocol does neither. */
function readText(token: Token): void {
  if (token.byteValue === undefined) return;
  if (!isUtf8(token.byteValue)) throw new Error("text that is no UTF-8");
  token.value = Buffer.from(token.byteValue).toString("utf8");
}

/**
 * Decodes one CBOR item of the subset.
 *
 * @throws SandboxError `internal`, saying what was wrong
 */
export function decodeCbor(payload: Uint8Array): Cbor {
  try {
    return decode(payload, { ...strict, tokenizer: new BoundedTokenizer(plain(payload), strict) }) as Cbor;
  } catch (error) {
    throw violation(`malformed CBOR, ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Encodes one item; properties that are undefined are left out. Numbers must be integers. */
export function encodeCbor(value: unknown): Buffer {
  const bytes = encode(value, { ignoreUndefinedProperties: true });
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

// cborg's slices of a Buffer would be views into a read buffer; of a Uint8Array they are copies.
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
