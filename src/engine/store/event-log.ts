import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Event } from "../../contract/index.ts";

/** Events older than the last 10,000 are forgotten. */
const KEPT = 10_000;
/** Trimming once in a while is enough. */
const TRIM_EVERY = 500;

export interface NewEvent {
  type: string;
  sandbox?: string | undefined;
  message?: string | undefined;
  data?: Record<string, unknown> | undefined;
}

/** The events that there were, in order, and whoever waits for the next. */
export class EventLog {
  private readonly insert: StatementSync;
  private readonly after: StatementSync;
  private readonly trim: StatementSync;
  private readonly waiting = new Set<() => void>();
  private last: number;

  constructor(database: DatabaseSync) {
    this.insert = database.prepare(
      "INSERT INTO events (time, type, sandbox, message, data) VALUES (?, ?, ?, ?, ?)",
    );
    this.after = database.prepare("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT 500");
    this.trim = database.prepare("DELETE FROM events WHERE seq <= ?");
    this.last = Number(database.prepare("SELECT max(seq) AS last FROM events").get()?.last ?? 0);
  }

  add(event: NewEvent): void {
    const data = event.data === undefined ? null : JSON.stringify(event.data);
    const result = this.insert.run(
      new Date().toISOString(),
      event.type,
      event.sandbox ?? null,
      event.message ?? null,
      data,
    );
    this.last = Number(result.lastInsertRowid);
    if (this.last % TRIM_EVERY === 0) this.trim.run(this.last - KEPT);
    for (const wake of this.waiting) wake();
    this.waiting.clear();
  }

  /** Events after `since` (default: only new ones), until the signal. */
  async *subscribe(options: { since?: number; signal?: AbortSignal } = {}): AsyncGenerator<Event> {
    const { signal } = options;
    let seen = options.since ?? this.last;
    while (!signal?.aborted) {
      for (const row of this.after.all(seen)) {
        seen = Number(row.seq);
        yield toEvent(row);
      }
      if (seen < this.last) continue;
      await new Promise<void>((resolve) => {
        const wake = () => {
          signal?.removeEventListener("abort", wake);
          this.waiting.delete(wake);
          resolve();
        };
        if (signal?.aborted) return resolve();
        this.waiting.add(wake);
        signal?.addEventListener("abort", wake, { once: true });
      });
    }
  }
}

function toEvent(row: Record<string, unknown>): Event {
  return {
    seq: Number(row.seq),
    time: String(row.time),
    type: String(row.type),
    ...(row.sandbox === null ? {} : { sandbox: String(row.sandbox) }),
    ...(row.message === null ? {} : { message: String(row.message) }),
    ...(row.data === null ? {} : { data: JSON.parse(String(row.data)) as Record<string, unknown> }),
  };
}
