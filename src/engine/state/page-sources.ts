/** The pages of a chain's levels, read by segments: many at once, since each read costs a way to another thread and back. */

import { type FileHandle, open } from "node:fs/promises";
import { type DeltaFiles, PAGE_BYTES, readRuns } from "./delta.ts";
import { readFully } from "./read-fully.ts";
import { overlay, type Segment } from "./segments.ts";

/** Pages in memory at once. With 4 MiB 25 MiB in 230 runs take 12 ms, run by run they take 40. */
const BATCH_PAGES = 1024;

/** The buffer of the last who read, for the next: each new one brings a collection of garbage nearer, which costs a fork 20 ms. */
let spare: Buffer | undefined;

/** Segments, and their bytes one after the other. The buffer is used again for the next batch. */
export interface Batch {
  segments: readonly Segment[];
  bytes: Buffer;
}

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

  /** The bytes of these segments, in this order; large ones come in parts. */
  async *read(segments: readonly Segment[]): AsyncGenerator<Batch> {
    const buffer = spare ?? Buffer.allocUnsafeSlow(BATCH_PAGES * PAGE_BYTES);
    spare = undefined;
    try {
      for (const batch of batches(segments)) {
        let at = 0;
        const reads = stretches(batch).map(({ level, from, count }) => {
          const part = buffer.subarray(at * PAGE_BYTES, (at + count) * PAGE_BYTES);
          at += count;
          return readFully(this.#files[level]!, part, from * PAGE_BYTES, this.#deltas[level]!.pages);
        });
        await allOrThrow(reads);
        yield { segments: batch, bytes: buffer.subarray(0, at * PAGE_BYTES) };
      }
    } finally {
      spare = buffer;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeAll(this.#files);
  }
}

/** Like Promise.all, but nothing is under way any more when it throws: buffers and files are used again or closed then. */
export async function allOrThrow(work: readonly Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find(({ status }) => status === "rejected");
  if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
}

/** At most BATCH_PAGES each. */
function* batches(segments: readonly Segment[]): Generator<Segment[]> {
  let batch: Segment[] = [];
  let room = BATCH_PAGES;
  for (const { page, count, level, from } of segments) {
    for (let done = 0; done < count; ) {
      const part = Math.min(room, count - done);
      batch.push({ page: page + done, count: part, level, from: from + done });
      done += part;
      room -= part;
      if (room > 0) continue;
      yield batch;
      [batch, room] = [[], BATCH_PAGES];
    }
  }
  if (batch.length > 0) yield batch;
}

/** What lies one after the other in a level's file is read at once. */
function stretches(segments: readonly Segment[]): Omit<Segment, "page">[] {
  const found: Omit<Segment, "page">[] = [];
  for (const { level, from, count } of segments) {
    const last = found.at(-1);
    if (last?.level === level && last.from + last.count === from) last.count += count;
    else found.push({ level, from, count });
  }
  return found;
}

async function closeAll(files: readonly FileHandle[]): Promise<void> {
  await Promise.all(files.map((file) => file.close()));
}
