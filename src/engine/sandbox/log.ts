import { type FileHandle, open, rename } from "node:fs/promises";
import { join } from "node:path";
import type { LogRecord } from "../../contract/index.ts";
import { LogFilter, type LogQuery } from "./log-filter.ts";
import { type LogSection, recordsOf } from "./log-reader.ts";

/**
 * What a sandbox's processes wrote: JSON lines, appended. Two files of at most `MAX_FILE` each are kept, the older one behind
 * the newer. A record is acknowledged to the guest only once it was written here, so that a daemon that dies loses none.
 */
const MAX_FILE = 16 * 1024 * 1024;
const CURRENT = "output.jsonl";
const OLDER = "output.1.jsonl";

/** Records, and characters of theirs, that wait for a slow reader; beyond them it is told how many it missed. */
const MAX_FOLLOWER_QUEUE = 10_000;
const MAX_FOLLOWER_CHARACTERS = 8 * 1024 * 1024;

export interface ReadOptions extends LogQuery {
  /** Then what comes, until the log is closed, `until` is past or the signal. */
  follow?: boolean | undefined;
  /** Only the last so many of what is kept. */
  tail?: number | undefined;
  signal?: AbortSignal | undefined;
}

interface Waiting {
  record: LogRecord;
  done: () => void;
  failed: (error: Error) => void;
}

interface Follower {
  queue: LogRecord[];
  characters: number;
  missed: number;
  wake: () => void;
}

export class SandboxLog {
  readonly directory: string;
  private file: FileHandle | undefined;
  private size = 0;
  private queue: Waiting[] = [];
  private flushing = false;
  /** Writes and snapshots take turns, so that a follower misses nothing between its snapshot and what comes live. */
  private turn: Promise<void> = Promise.resolve();
  private readonly followers = new Set<Follower>();
  private closed = false;
  /** Counts files begun; the one before is still there under another name. */
  private begun = 0;
  private readonly watchers = new Set<() => void>();

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

  /** What is kept and asked for, oldest first. */
  async *read(options: ReadOptions = {}): AsyncGenerator<LogRecord> {
    const { tail, signal } = options;
    const filter = new LogFilter(options);
    const follow = options.follow === true && !filter.over;
    const follower: Follower = { queue: [], characters: 0, missed: 0, wake: () => {} };
    const wake = () => follower.wake();
    signal?.addEventListener("abort", wake);
    const end = follow && filter.leftMs !== undefined ? endTimer(filter.leftMs, wake) : undefined;
    try {
      const sections = await this.inTurn(async () => {
        if (follow) this.followers.add(follower);
        return this.sections();
      });
      const kept: LogRecord[] = [];
      for await (const records of recordsOf(sections)) {
        if (signal?.aborted) return;
        const wanted = filter.take(records);
        if (tail === undefined) yield* wanted;
        else keepLast(kept, wanted, tail);
      }
      if (!follow) keepLast(kept, filter.rest(), tail);
      yield* kept;
      if (follow) yield* this.following(follower, filter, signal);
    } finally {
      clearTimeout(end);
      this.followers.delete(follower);
      signal?.removeEventListener("abort", wake);
    }
  }

  private async *following(
    follower: Follower,
    filter: LogFilter,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<LogRecord> {
    while (!signal?.aborted) {
      follower.characters = 0;
      yield* filter.take(follower.queue.splice(0));
      if (follower.missed > 0) yield missedRecord(follower);
      if (this.closed || filter.over) {
        yield* filter.rest();
        return;
      }
      if (follower.queue.length > 0 || signal?.aborted) continue;
      await new Promise<void>((resolve) => {
        follower.wake = resolve;
      });
    }
  }

  /** For each process and stream the offset behind the last byte that is in the log, as `process/stream`. */
  async offsets(): Promise<Map<string, number>> {
    const ends = new Map<string, number>();
    for await (const records of recordsOf(await this.inTurn(() => this.sections()))) {
      for (const { process, stream, offset, text, base64 } of records) {
        if (offset === undefined) continue;
        const bytes =
          base64 === undefined ? Buffer.byteLength(text ?? "") : Buffer.byteLength(base64, "base64");
        ends.set(`${process}/${stream}`, offset + bytes);
      }
    }
    return ends;
  }

  /** Number of the file that is written to. */
  get generation(): number {
    return this.begun;
  }

  get isClosed(): boolean {
    return this.closed;
  }

  /** Has `onChange` called after every write and when the log is closed. @returns what ends that */
  watch(onChange: () => void): () => void {
    this.watchers.add(onChange);
    return () => this.watchers.delete(onChange);
  }

  /**
   * Opens a file of the log to read it; it stays readable when it is dropped.
   * @param generation undefined: the oldest that is kept
   * @returns nothing if that file is kept no more
   */
  openKept(generation?: number): Promise<{ file: FileHandle; generation: number } | undefined> {
    return this.inTurn(async () => {
      const older = await open(join(this.directory, OLDER), "r").catch(() => undefined);
      if (older !== undefined && (generation ?? this.begun - 1) === this.begun - 1) {
        return { file: older, generation: this.begun - 1 };
      }
      await older?.close();
      if ((generation ?? this.begun) !== this.begun) return undefined;
      if (this.file === undefined && !this.closed) await this.openFile();
      const file = await open(join(this.directory, CURRENT), "r").catch(() => undefined);
      return file && { file, generation: this.begun };
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const watcher of this.watchers) watcher();
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
      for (const watcher of this.watchers) watcher();
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
    const file = await open(join(this.directory, CURRENT), "a+", 0o600);
    this.file = file;
    this.size = (await file.stat()).size;
    if (this.size === 0) return;
    // A daemon that died while it wrote left half a line; its bytes were not acknowledged and come again.
    const last = Buffer.alloc(1);
    await file.read(last, 0, 1, this.size - 1);
    if (last[0] === 10) return;
    await file.appendFile("\n");
    this.size += 1;
  }

  private async rotate(): Promise<void> {
    await this.file?.close();
    await rename(join(this.directory, CURRENT), join(this.directory, OLDER));
    this.file = await open(join(this.directory, CURRENT), "a", 0o600);
    this.size = 0;
    this.begun++;
  }

  /** Both files as they are now; a rotation does not take them away from whoever has opened them. */
  private async sections(): Promise<LogSection[]> {
    const sections: LogSection[] = [];
    for (const name of [OLDER, CURRENT]) {
      const file = await open(join(this.directory, name), "r").catch(() => undefined);
      if (file !== undefined) sections.push({ file, bytes: (await file.stat()).size });
    }
    return sections;
  }
}

/** Adds to what is kept, of which only the last `tail` are wanted. */
function keepLast(kept: LogRecord[], more: readonly LogRecord[], tail = Infinity): void {
  for (const record of more) kept.push(record);
  if (kept.length > tail) kept.splice(0, kept.length - tail);
}

/** The longest that a timer of Node can be set to, which is 24 days; whoever follows for longer is woken then, and goes on. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A record's time has whole milliseconds: what was written in the last one is still let through. */
function endTimer(leftMs: number, wake: () => void): NodeJS.Timeout {
  return setTimeout(wake, Math.min(leftMs + 1, MAX_TIMER_MS));
}

function give(follower: Follower, batch: Waiting[]): void {
  for (const { record } of batch) {
    const full =
      follower.queue.length >= MAX_FOLLOWER_QUEUE || follower.characters >= MAX_FOLLOWER_CHARACTERS;
    if (full) {
      follower.missed++;
      continue;
    }
    follower.queue.push(record);
    follower.characters += (record.text ?? record.base64 ?? "").length;
  }
  follower.wake();
}

function missedRecord(follower: Follower): LogRecord {
  const text = `${follower.missed} records skipped: the reader is too slow\n`;
  follower.missed = 0;
  return { time: new Date().toISOString(), process: 0, stream: "system", text };
}
