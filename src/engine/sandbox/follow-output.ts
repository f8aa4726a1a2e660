import type { FileHandle } from "node:fs/promises";
import type { LogRecord } from "../../contract/index.ts";
import type { OutputPiece } from "../engine.ts";
import { LineSplitter } from "./line-splitter.ts";
import type { SandboxLog } from "./log.ts";
import { parseRecord } from "./log-reader.ts";

const READ_BYTES = 256 * 1024;

/** Whose output is followed, and from where. */
export interface Followed {
  process: number;
  from: { stdout: number; stderr: number };
  /** Whether nothing more of it will come into the log. */
  isOver(): boolean;
  /** Resolves when `isOver` may have become true. */
  over: Promise<unknown>;
}

/**
 * A process's output, out of the sandbox's log: what is kept of it, then what comes. Each reader has its own place in the files and
 * keeps no more than one piece of them in memory, so a slow one costs the process and other readers nothing. When the log has dropped a file that
 * was not read, the offsets of the records tell how much is missing.
 */
export async function* followOutput(
  log: SandboxLog,
  { process, from, isOver, over }: Followed,
  signal: AbortSignal,
): AsyncGenerator<OutputPiece> {
  const next = { ...from };
  let changed = false;
  let wake = () => {};
  const notify = () => {
    changed = true;
    wake();
  };
  const unwatch = log.watch(notify);
  signal.addEventListener("abort", notify, { once: true });
  over.then(notify, notify);
  const tail = new LogTail(log);
  try {
    while (!signal.aborted) {
      // Looked at before the log is: what comes later is not missed.
      changed = false;
      const last = isOver() || log.isClosed;
      for await (const line of tail.available()) {
        if (signal.aborted) return;
        const record = recordOf(line, process);
        if (record !== undefined) yield* piecesOf(record, next);
      }
      if (last) return;
      if (changed) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    unwatch();
    signal.removeEventListener("abort", notify);
    await tail.close();
  }
}

/** The lines of a log, file after file. */
class LogTail {
  private readonly log: SandboxLog;
  private open: { file: FileHandle; generation: number } | undefined;
  private position = 0;
  private lines = new LineSplitter();

  constructor(log: SandboxLog) {
    this.log = log;
  }

  /** All that are there now and were not given before. */
  async *available(): AsyncGenerator<string> {
    this.open ??= await this.log.openKept();
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    while (this.open !== undefined) {
      // A file that another was begun behind grows no more; known before the read.
      const complete = this.open.generation < this.log.generation;
      const { bytesRead } = await this.open.file.read(buffer, 0, READ_BYTES, this.position);
      this.position += bytesRead;
      yield* this.lines.push(buffer.subarray(0, bytesRead));
      if (bytesRead > 0) continue;
      if (!complete) return;
      await this.nextFile(this.open.generation + 1);
    }
  }

  async close(): Promise<void> {
    await this.open?.file.close();
    this.open = undefined;
  }

  private async nextFile(generation: number): Promise<void> {
    await this.close();
    this.lines = new LineSplitter();
    this.position = 0;
    // Dropped already, if the reader was slow: on with the oldest that there is.
    this.open = (await this.log.openKept(generation)) ?? (await this.log.openKept());
  }
}

function recordOf(line: string, process: number): LogRecord | undefined {
  // Most lines of a busy log are others': a look at the text spares to parse them.
  if (!line.includes(`"process":${process},`)) return undefined;
  const record = parseRecord(line);
  return record?.process === process ? record : undefined;
}

function* piecesOf(record: LogRecord, next: { stdout: number; stderr: number }): Generator<OutputPiece> {
  const { stream, offset, text, base64 } = record;
  if (stream === "system" || offset === undefined) return;
  const data = base64 === undefined ? Buffer.from(text ?? "") : Buffer.from(base64, "base64");
  const end = offset + data.length;
  if (end <= next[stream]) return;
  if (offset > next[stream]) yield { stream, lost: offset - next[stream] };
  yield { stream, data: data.subarray(Math.max(0, next[stream] - offset)) };
  next[stream] = end;
}
