import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { MAX_ENDED_PROCESSES, type ProcessInfo, processInfo } from "../../contract/index.ts";

const FILE = "processes.json";
/** How long what nobody waits for may stay unwritten. */
const WRITE_WITHIN_MS = 500;

/** What is kept of a process: enough for a new daemon to go on with it. */
const processRecord = processInfo.extend({
  timeoutMs: z.int().optional(),
  killAfterMs: z.int().optional(),
});
export type ProcessRecord = z.output<typeof processRecord>;

const file = z.object({ processes: z.array(processRecord) });

/**
 * The processes of a sandbox on disk, beside it: those that run and the last that have ended. The file is small (the number of processes
 * and what is kept of their arguments are bounded) and is written anew as a whole, at most once at a time.
 */
export class ProcessRecords {
  readonly byNumber = new Map<number, ProcessRecord>();
  private readonly directory: string;
  private writing: Promise<void> | undefined;
  private again: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(directory: string) {
    this.directory = directory;
    for (const record of load(join(directory, FILE))) this.byNumber.set(record.process, record);
  }

  put(record: ProcessRecord): void {
    this.byNumber.set(record.process, record);
    const ended = [...this.byNumber.values()].filter(({ state }) => state !== "running");
    for (const { process } of ended.slice(0, Math.max(0, ended.length - MAX_ENDED_PROCESSES))) {
      this.byNumber.delete(process);
    }
  }

  /** Sees to it that what was put is written soon. */
  writeSoon(): void {
    if (this.closed) return;
    this.timer ??= setTimeout(() => void this.write().catch(() => {}), WRITE_WITHIN_MS).unref();
  }

  /** Resolves when all that was put so far is on disk. */
  write(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.closed) return Promise.resolve();
    if (this.writing === undefined) {
      this.writing = this.writeNow().finally(() => {
        this.writing = undefined;
      });
      return this.writing;
    }
    // The write under way may have begun before what is to be written now: one more behind it, for all who ask meanwhile.
    this.again ??= this.writing
      .catch(() => {})
      .then(() => {
        this.again = undefined;
        return this.write();
      });
    return this.again;
  }

  /** Writes what is left, unless the sandbox is gone, and nothing afterwards. */
  async close(gone: boolean): Promise<void> {
    if (gone) this.closed = true;
    else if (this.timer !== undefined) await this.write().catch(() => {});
    clearTimeout(this.timer);
    await (this.again ?? this.writing)?.catch(() => {});
    this.closed = true;
  }

  private async writeNow(): Promise<void> {
    const path = join(this.directory, FILE);
    const text = JSON.stringify({ processes: [...this.byNumber.values()] });
    await writeFile(`${path}.new`, text, { mode: 0o600 });
    await rename(`${path}.new`, path);
  }
}

function load(path: string): ProcessRecord[] {
  try {
    return file.parse(JSON.parse(readFileSync(path, "utf8"))).processes;
  } catch {
    return []; // none yet, or of a later version: what runs is listed all the same
  }
}

/** What users are told of it. */
export function toProcessInfo({
  timeoutMs: _timeoutMs,
  killAfterMs: _killAfterMs,
  ...info
}: ProcessRecord): ProcessInfo {
  return info;
}
