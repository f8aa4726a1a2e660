import { isUtf8 } from "node:buffer";
import { type FileHandle, open, readFile, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import type { LogRecord } from "../../contract/index.ts";

/**
 * What a sandbox's processes wrote: JSON lines, appended. Two files of at most `MAX_FILE` each are kept, the older one behind
 * the newer. A record is acknowledged to the guest only once it was written here, so that a daemon that dies loses none.
 */
const MAX_FILE = 16 * 1024 * 1024;
const CURRENT = "output.jsonl";
const OLDER = "output.1.jsonl";

/** Records that wait for a slow reader; beyond them it is told how many it missed. */
const MAX_FOLLOWER_QUEUE = 10_000;

interface Waiting {
  record: LogRecord;
  done: () => void;
  failed: (error: Error) => void;
}

interface Follower {
  queue: LogRecord[];
  missed: number;
  wake: () => void;
}

export class SandboxLog {
  private readonly directory: string;
  private file: FileHandle | undefined;
  private size = 0;
  private queue: Waiting[] = [];
  private flushing = false;
  /** Writes and snapshots take turns, so that a follower misses nothing between its snapshot and what comes live. */
  private turn: Promise<void> = Promise.resolve();
  private readonly followers = new Set<Follower>();
  private closed = false;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** Resolves when the record has been written. Records of one log keep their order. */
  append(record: LogRecord): Promise<void> {
    return new Promise((done, failed) => {
      this.queue.push({ record, done, failed });
      if (this.flushing) return;
      this.flushing = true;
      this.inTurn(() => this.flush());
    });
  }

  /** Everything kept, oldest first; with `follow`, then what comes, until the log is closed or the signal. */
  async *read(
    options: { follow?: boolean; tail?: number; signal?: AbortSignal } = {},
  ): AsyncGenerator<LogRecord> {
    const { follow = false, tail, signal } = options;
    const follower: Follower = { queue: [], missed: 0, wake: () => {} };
    const abort = () => follower.wake();
    signal?.addEventListener("abort", abort);
    try {
      const kept = await this.inTurn(async () => {
        if (follow) this.followers.add(follower);
        return this.records();
      });
      yield* tail === undefined ? kept : kept.slice(Math.max(0, kept.length - tail));
      while (follow && !signal?.aborted) {
        yield* follower.queue.splice(0);
        if (follower.missed > 0) yield missedRecord(follower);
        if (this.closed) return;
        if (follower.queue.length > 0 || signal?.aborted) continue;
        await new Promise<void>((resolve) => {
          follower.wake = resolve;
        });
      }
    } finally {
      this.followers.delete(follower);
      signal?.removeEventListener("abort", abort);
    }
  }

  /** For each process and stream the offset behind the last byte that is in the log, as `process/stream`. */
  async offsets(): Promise<Map<string, number>> {
    const ends = new Map<string, number>();
    for (const { process, stream, offset, text, base64 } of await this.inTurn(() => this.records())) {
      if (offset === undefined) continue;
      const bytes =
        base64 === undefined ? Buffer.byteLength(text ?? "") : Buffer.byteLength(base64, "base64");
      ends.set(`${process}/${stream}`, offset + bytes);
    }
    return ends;
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.inTurn(async () => {
      await this.file?.close();
      this.file = undefined;
    });
    for (const follower of this.followers) follower.wake();
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.turn.then(work);
    this.turn = result.then(
      () => {},
      () => {},
    );
    return result;
  }

  private async flush(): Promise<void> {
    while (this.queue.length > 0) {
      const batch = this.queue;
      this.queue = [];
      try {
        await this.write(batch.map(({ record }) => `${JSON.stringify(record)}\n`).join(""));
        for (const waiting of batch) waiting.done();
      } catch (error) {
        for (const waiting of batch) waiting.failed(error as Error);
      }
      for (const follower of this.followers) give(follower, batch);
    }
    this.flushing = false;
  }

  private async write(text: string): Promise<void> {
    if (this.file === undefined) await this.openFile();
    if (this.size > MAX_FILE) await this.rotate();
    const bytes = Buffer.from(text);
    await this.file!.appendFile(bytes);
    this.size += bytes.length;
  }

  private async openFile(): Promise<void> {
    const path = join(this.directory, CURRENT);
    this.file = await open(path, "a", 0o600);
    this.size = (await stat(path)).size;
    // A daemon that died while it wrote left half a line; its bytes were not acknowledged and come again.
    if (this.size > 0 && !(await readFile(path)).subarray(-1).equals(Buffer.from("\n"))) {
      await this.file.appendFile("\n");
      this.size += 1;
    }
  }

  private async rotate(): Promise<void> {
    await this.file?.close();
    await rename(join(this.directory, CURRENT), join(this.directory, OLDER));
    this.file = await open(join(this.directory, CURRENT), "a", 0o600);
    this.size = 0;
  }

  private async records(): Promise<LogRecord[]> {
    const read = (name: string) => readFile(join(this.directory, name), "utf8").catch(() => "");
    const lines = (await Promise.all([OLDER, CURRENT].map(read))).join("").split("\n");
    return lines.map(parse).filter((record) => record !== undefined);
  }
}

function give(follower: Follower, batch: Waiting[]): void {
  for (const { record } of batch) {
    if (follower.queue.length < MAX_FOLLOWER_QUEUE) follower.queue.push(record);
    else follower.missed++;
  }
  follower.wake();
}

function missedRecord(follower: Follower): LogRecord {
  const text = `${follower.missed} records skipped: the reader is too slow\n`;
  follower.missed = 0;
  return { time: new Date().toISOString(), process: 0, stream: "system", text };
}

/** A chunk of output as a record: text where it is UTF-8 without NULs (each would take six bytes in JSON), else base64. */
export function outputRecord(
  process: number,
  stream: "stdout" | "stderr",
  offset: number,
  chunk: Buffer,
): LogRecord {
  const time = new Date().toISOString();
  return isUtf8(chunk) && !chunk.includes(0)
    ? { time, process, stream, offset, text: chunk.toString("utf8") }
    : { time, process, stream, offset, base64: chunk.toString("base64") };
}

function parse(line: string): LogRecord | undefined {
  try {
    return JSON.parse(line) as LogRecord;
  } catch {
    return undefined;
  }
}
