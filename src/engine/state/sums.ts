/** Sums of files that are known already, so that what many states share is read once. */

import type { BigIntStats } from "node:fs";
import { stat } from "node:fs/promises";
import { fileDigest } from "./digest.ts";

const MAX_KNOWN = 4096;

/** What is different when a file has been written to. Links and permissions do not count. */
export function contentMark({ dev, ino, size, mtimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${size}:${mtimeNs}`;
}

export class KnownSums {
  readonly #sums = new Map<string, string>();

  /** From now on the sum of `path` counts as this: somebody has taken it when the file was written. */
  async learn(path: string, sha256: string): Promise<void> {
    this.#keep(contentMark(await stat(path, { bigint: true })), sha256);
  }

  async of(path: string, options: { signal?: AbortSignal | undefined }): Promise<string> {
    const before = contentMark(await stat(path, { bigint: true }));
    const known = this.#sums.get(before);
    if (known !== undefined) return known;
    const sha256 = await fileDigest(path, options);
    this.#keep(before, sha256);
    return sha256;
  }

  #keep(mark: string, sha256: string): void {
    this.#sums.set(mark, sha256);
    if (this.#sums.size > MAX_KNOWN) this.#sums.delete(this.#sums.keys().next().value!);
  }
}
