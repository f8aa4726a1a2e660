/** The pages of a chain's levels, read by segments. */

import { type FileHandle, open } from "node:fs/promises";
import { type DeltaFiles, PAGE_BYTES, readRuns } from "./delta.ts";
import { readFully } from "./read-fully.ts";
import { overlay, type Segment } from "./segments.ts";

/** Read at once. */
const CHUNK_PAGES = 256;

export class PageSources implements AsyncDisposable {
  /** What each page that is not the base's comes from, ascending. */
  readonly segments: readonly Segment[];
  readonly #files: readonly FileHandle[];
  readonly #deltas: readonly DeltaFiles[];

  private constructor(
    files: readonly FileHandle[],
    deltas: readonly DeltaFiles[],
    segments: readonly Segment[],
  ) {
    this.segments = segments;
    this.#files = files;
    this.#deltas = deltas;
  }

  /** @param deltas oldest first. @throws `internal` if a level is damaged */
  static async open(deltas: readonly DeltaFiles[], memoryBytes: number): Promise<PageSources> {
    const levels = await Promise.all(deltas.map((files, level) => readRuns(files, level, memoryBytes)));
    const segments = levels.reduce((below, above) => overlay(below, above), []);
    const files: FileHandle[] = [];
    try {
      for (const { pages } of deltas) files.push(await open(pages, "r"));
    } catch (error) {
      await closeAll(files);
      throw error;
    }
    return new PageSources(files, deltas, segments);
  }

  /** The bytes of a segment, in buffers of at most 1 MiB that are the caller's. */
  async *read({ level, from, count }: Segment): AsyncGenerator<Buffer> {
    for (let done = 0; done < count; ) {
      const pages = Math.min(CHUNK_PAGES, count - done);
      const buffer = Buffer.allocUnsafeSlow(pages * PAGE_BYTES);
      await readFully(this.#files[level]!, buffer, (from + done) * PAGE_BYTES, this.#deltas[level]!.pages);
      done += pages;
      yield buffer;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeAll(this.#files);
  }
}

async function closeAll(files: readonly FileHandle[]): Promise<void> {
  await Promise.all(files.map((file) => file.close()));
}
