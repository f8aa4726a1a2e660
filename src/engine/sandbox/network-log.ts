import { type FileHandle, open, rename } from "node:fs/promises";
import { join } from "node:path";
import { type NetworkRecord, networkRecord } from "../../contract/index.ts";
import type { NetworkLogOptions } from "../engine.ts";

/**
 * What a sandbox's network decided: JSON lines, appended. Two files of at most `MAX_FILE` each are kept, the older one behind the
 * newer. It is for people who look afterwards: when the daemon dies, the last few may be missing. Bounds: records that wait
 * for the disk or for a slow reader; beyond them they are left out.
 */

const MAX_FILE = 4 * 1024 * 1024;
const MAX_WAITING = 10_000;
const CURRENT = "network.jsonl";
const OLDER = "network.1.jsonl";

interface Follower {
  queue: NetworkRecord[];
  wake(): void;
}

export class NetworkLog {
  readonly #directory: string;
  readonly #followers = new Set<Follower>();
  #waiting: NetworkRecord[] = [];
  #file: FileHandle | undefined;
  #size = 0;
  #closed = false;
  /** Writes and snapshots take turns, so that a follower misses nothing and sees nothing twice. */
  #turn: Promise<void> = Promise.resolve();

  /** @param directory need not be there before the first record */
  constructor(directory: string) {
    this.#directory = directory;
  }

  append(records: readonly NetworkRecord[]): void {
    if (this.#closed || this.#waiting.length >= MAX_WAITING) return;
    this.#waiting.push(...records);
    // What cannot be written (a full disk) is lost; the network goes on.
    void this.#inTurn(() => this.#flush()).catch(() => {});
  }

  /** What is kept and asked for, oldest first. */
  async *read({ follow = false, tail, signal }: NetworkLogOptions = {}): AsyncGenerator<NetworkRecord> {
    const follower: Follower = { queue: [], wake: () => {} };
    const wake = () => follower.wake();
    signal?.addEventListener("abort", wake);
    try {
      const kept = await this.#inTurn(async () => {
        if (follow && !this.#closed) this.#followers.add(follower);
        return this.#kept();
      });
      yield* tail === undefined ? kept : kept.slice(Math.max(0, kept.length - tail));
      while (follow && !signal?.aborted) {
        yield* follower.queue.splice(0);
        if (this.#closed) return;
        if (follower.queue.length > 0 || signal?.aborted) continue;
        await new Promise<void>((resolve) => {
          follower.wake = resolve;
        });
      }
    } finally {
      this.#followers.delete(follower);
      signal?.removeEventListener("abort", wake);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#inTurn(async () => {
      await this.#file?.close();
      this.#file = undefined;
    });
    for (const follower of this.#followers) follower.wake();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.then(
      () => {},
      () => {},
    );
    return result;
  }

  async #flush(): Promise<void> {
    const batch = this.#waiting;
    this.#waiting = [];
    if (batch.length === 0) return;
    for (const follower of this.#followers) {
      if (follower.queue.length < MAX_WAITING) follower.queue.push(...batch);
      follower.wake();
    }
    this.#file ??= await this.#open();
    if (this.#size > MAX_FILE) await this.#rotate();
    const bytes = Buffer.from(batch.map((record) => `${JSON.stringify(record)}\n`).join(""));
    await this.#file.appendFile(bytes);
    this.#size += bytes.length;
  }

  async #open(): Promise<FileHandle> {
    const file = await open(join(this.#directory, CURRENT), "a", 0o600);
    this.#size = (await file.stat()).size;
    // A daemon that died while it wrote left half a line.
    if (this.#size > 0) await file.appendFile("\n");
    return file;
  }

  async #rotate(): Promise<void> {
    await this.#file!.close();
    this.#file = undefined;
    await rename(join(this.#directory, CURRENT), join(this.#directory, OLDER));
    this.#file = await this.#open();
  }

  /** Both files; at most twice `MAX_FILE` and a batch. */
  async #kept(): Promise<NetworkRecord[]> {
    const records: NetworkRecord[] = [];
    for (const name of [OLDER, CURRENT]) {
      const file = await open(join(this.#directory, name), "r").catch(() => undefined);
      const text = (await file?.readFile("utf8")) ?? "";
      await file?.close();
      for (const line of text.split("\n")) {
        const record = recordOf(line);
        if (record !== undefined) records.push(record);
      }
    }
    return records;
  }
}

/** Undefined for a line that was cut off. */
function recordOf(line: string): NetworkRecord | undefined {
  try {
    return networkRecord.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}
