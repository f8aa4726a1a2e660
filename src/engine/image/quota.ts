/**
 * How much the image store may take, and takes. What is written is charged before it is written, by whoever writes it;
 * what is freed is measured anew, since files may share their space (hard links, holes).
 */

import { SandboxError } from "../../contract/errors.ts";

/** Bytes that one piece of work has been granted. Given back when disposed of, unless kept. */
export interface Charge extends Disposable {
  /** @throws `resource_exhausted` when the store would become larger than it may */
  add(bytes: number): void;
  /** What was written stays. */
  keep(): void;
}

export class Quota {
  readonly #limit: () => number | undefined;
  #used = 0;

  /** `limit`: bytes, asked anew each time; undefined for none. */
  constructor(limit: () => number | undefined) {
    this.#limit = limit;
  }

  /** Bytes as charged since they were last measured. */
  get usedBytes(): number {
    return this.#used;
  }

  get limitBytes(): number | undefined {
    return this.#limit();
  }

  /** Says what the store takes, as measured, when nothing is being written. */
  set(bytes: number): void {
    this.#used = bytes;
  }

  /** Less is in the store than before. */
  free(bytes: number): void {
    this.#used = Math.max(0, this.#used - bytes);
  }

  /** `what`: what the bytes are for, as errors say it. */
  open(what: string): Charge {
    let mine = 0;
    return {
      add: (bytes) => {
        const limit = this.#limit();
        if (limit !== undefined && this.#used + bytes > limit) throw exhausted(what, limit);
        this.#used += bytes;
        mine += bytes;
      },
      keep: () => {
        mine = 0;
      },
      [Symbol.dispose]: () => {
        this.free(mine);
        mine = 0;
      },
    };
  }
}

function exhausted(what: string, limit: number): SandboxError {
  return new SandboxError(
    "resource_exhausted",
    `the image store is full: ${what} would take it beyond ${limit} bytes`,
    {
      hint: 'Free space with: msb prune --all, or raise "quota" in images.json.',
      details: { quotaBytes: limit },
    },
  );
}
