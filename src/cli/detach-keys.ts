import { SandboxError } from "../contract/errors.ts";

/** The keys that leave a process running, spelled as Docker does: `ctrl-p,ctrl-q`, `ctrl-@`, or single characters. */

export const DEFAULT_DETACH_KEYS = Buffer.from([0x10, 0x11]);

/** @returns the bytes that the keys send; none for `""`, which means that no keys leave. @throws `invalid_argument` */
export function parseDetachKeys(text: string): Buffer {
  if (text === "") return Buffer.alloc(0);
  return Buffer.concat(text.split(",").map(keyOf));
}

function keyOf(key: string): Buffer {
  const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(key)?.[1];
  if (control !== undefined) return Buffer.from([control.toUpperCase().charCodeAt(0) & 0x1f]);
  if (/^[\x21-\x7e]$/.test(key)) return Buffer.from(key);
  throw new SandboxError("invalid_argument", `--detach-keys: "${key}" is no key`, {
    hint: "give keys as ctrl-p,ctrl-q or x,y,z",
  });
}

/**
 * Looks for the keys in what is typed. The beginning of them is kept back until it is clear that the rest does not follow: a program
 * gets them one key late, and none is lost.
 */
export class DetachKeys {
  readonly #keys: Buffer;
  #matched = 0;

  constructor(keys: Buffer) {
    this.#keys = keys;
  }

  /** What of the input is for the program, and whether the keys came; what is behind them is nobody's. */
  take(input: Buffer): { data: Buffer; detach: boolean } {
    const keys = this.#keys;
    if (keys.length === 0) return { data: input, detach: false };
    const out: number[] = [];
    for (const byte of input) {
      if (byte === keys[this.#matched]) {
        this.#matched++;
        if (this.#matched === keys.length) return { data: Buffer.from(out), detach: true };
        continue;
      }
      this.#release(byte, out);
    }
    return { data: Buffer.from(out), detach: false };
  }

  /** The byte does not go on with what was matched, but a later part of that and the byte may begin the keys. */
  #release(byte: number, out: number[]): void {
    const seen = [...this.#keys.subarray(0, this.#matched), byte];
    this.#matched = 0;
    for (let from = 0; from < seen.length; from++) {
      const rest = Buffer.from(seen.slice(from));
      if (rest.equals(this.#keys.subarray(0, rest.length))) {
        this.#matched = rest.length;
        return;
      }
      out.push(seen[from]!);
    }
  }
}
