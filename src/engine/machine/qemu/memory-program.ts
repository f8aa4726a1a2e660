import { parentPort } from "node:worker_threads";
import type { PageRun } from "../machine.ts";
import { changedRuns, mappingOf, readRuns } from "./process-memory.ts";

/** The thread that reads the memory of VMs. Each order is answered at once, with as much of the pages as it asks for. */

export interface Order {
  id: number;
  /** Undefined: go on with this order's pages. */
  read?: { pid: number; memoryFile: string } | undefined;
  /** So many bytes of pages, and those of the piece that they end in. 0: no more, ever. */
  atLeast: number;
}

export interface Answer {
  id: number;
  /** Of the first answer. */
  runs?: PageRun[] | undefined;
  pieces: Uint8Array[];
  over: boolean;
  error?: { message: string; code?: string | undefined } | undefined;
}

const open = new Map<number, Generator<Uint8Array>>();
const port = parentPort!;

port.on("message", (order: Order) => {
  const answer: Answer = { id: order.id, pieces: [], over: true };
  try {
    begin(order, answer);
    goOn(order, answer);
  } catch (error) {
    open.delete(order.id);
    const { message, code } = error as NodeJS.ErrnoException;
    answer.error = { message, code };
  }
  port.postMessage(
    answer,
    answer.pieces.map(({ buffer }) => buffer as ArrayBuffer),
  );
});

function begin({ id, read }: Order, answer: Answer): void {
  if (read === undefined) return;
  const mapping = mappingOf(read.pid, read.memoryFile);
  if (mapping === undefined) throw new Error("it does not map the memory that it was loaded from");
  answer.runs = changedRuns(read.pid, mapping);
  open.set(id, readRuns(read.pid, mapping, answer.runs));
}

function goOn({ id, atLeast }: Order, answer: Answer): void {
  const pages = open.get(id);
  if (pages === undefined) return;
  for (let bytes = 0; bytes < atLeast; ) {
    const { value, done } = pages.next();
    if (done === true) {
      open.delete(id);
      return;
    }
    answer.pieces.push(value);
    bytes += value.length;
  }
  answer.over = false;
  if (atLeast > 0) return;
  pages.return(undefined);
  open.delete(id);
}

port.postMessage({ id: 0, pieces: [], over: true } satisfies Answer);
