import type { Digest } from "./digest.ts";

export interface Hold extends Disposable {
  readonly digest: Digest;
}

/** Counts who needs what just now, so that a sweep leaves it alone. */
export class Holds {
  readonly #counts = new Map<Digest, number>();

  has(digest: Digest): boolean {
    return this.#counts.has(digest);
  }

  hold(digest: Digest): Hold {
    this.#counts.set(digest, (this.#counts.get(digest) ?? 0) + 1);
    let held = true;
    return {
      digest,
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        const left = this.#counts.get(digest)! - 1;
        if (left === 0) this.#counts.delete(digest);
        else this.#counts.set(digest, left);
      },
    };
  }
}
