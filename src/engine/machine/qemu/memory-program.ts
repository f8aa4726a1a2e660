import { closeSync, openSync, writeSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import type { PageRun } from "../machine.ts";
import { changedRuns, mappingOf, readRuns } from "./process-memory.ts";

/**
 * The thread that reads the memory of VMs and writes it to files: what it holds of it never comes to the main thread, where each MiB would
 * bring the next collection of garbage nearer. Each order is answered at once.
 */

/** `read`: so many bytes are held. `write`: at most so many go to the file, which the first order of this kind makes. */
export type Order = { id: number } & (
  | { does: "read"; pid: number; memoryFile: string; hold: number }
  | { does: "write"; file: string; bytes: number }
  | { does: "release" }
);

export interface Answer {
  id: number;
  /** Of `read`: what there is. */
  runs?: PageRun[] | undefined;
  /** All is held; or all is written, and nothing more is to be done. */
  over: boolean;
  error?: { message: string; code?: string | undefined; writing: boolean } | undefined;
}

interface Reading {
  pages: Generator<Uint8Array>;
  held: Uint8Array[];
  over: boolean;
  file?: number;
}

const readings = new Map<number, Reading>();
const port = parentPort!;

port.on("message", (order: Order) => {
  const answer: Answer = { id: order.id, over: true };
  let writing = false;
  try {
    if (order.does === "read") {
      const { runs, reading } = begin(order);
      hold(reading, order.hold);
      Object.assign(answer, { runs, over: reading.over });
    } else if (order.does === "write") {
      const reading = readings.get(order.id);
      if (reading === undefined) throw new Error("nothing is held of it any more");
      if (reading.held.length === 0) hold(reading, order.bytes);
      writing = true;
      write(reading, order);
      answer.over = reading.over && reading.held.length === 0;
      if (answer.over) release(order.id);
    } else release(order.id);
  } catch (error) {
    release(order.id);
    const { message, code } = error as NodeJS.ErrnoException;
    answer.error = { message, code, writing };
  }
  port.postMessage(answer);
});

function begin({ id, pid, memoryFile }: Order & { does: "read" }): { runs: PageRun[]; reading: Reading } {
  const mapping = mappingOf(pid, memoryFile);
  if (mapping === undefined) throw new Error("it does not map the memory that it was loaded from");
  const runs = changedRuns(pid, mapping);
  const reading = { pages: readRuns(pid, mapping, runs), held: [], over: false };
  readings.set(id, reading);
  return { runs, reading };
}

/** So many bytes of pages, and those of the piece that they end in. */
function hold(reading: Reading, atLeast: number): void {
  for (let bytes = 0; bytes < atLeast && !reading.over; ) {
    const { value, done } = reading.pages.next();
    reading.over = done === true;
    if (done === true) return;
    reading.held.push(value);
    bytes += value.length;
  }
}

function write(reading: Reading, { file, bytes }: Order & { does: "write" }): void {
  reading.file ??= openSync(file, "wx", 0o600);
  const [piece] = reading.held;
  if (piece === undefined) return;
  // A write may be cut short, by a signal or by a disk that is nearly full.
  const written = writeSync(reading.file, piece, 0, Math.min(bytes, piece.length));
  if (written === piece.length) reading.held.shift();
  else reading.held[0] = piece.subarray(written);
}

function release(id: number): void {
  const reading = readings.get(id);
  readings.delete(id);
  reading?.pages.return(undefined);
  if (reading?.file !== undefined) closeSync(reading.file);
}

port.postMessage({ id: 0, over: true } satisfies Answer);
