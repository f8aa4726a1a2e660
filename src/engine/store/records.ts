import type { DatabaseSync, StatementSync } from "node:sqlite";

/** A row of the table `sandboxes`: what is looked up by, and the whole as JSON. */
export interface SandboxRow {
  id: string;
  name: string;
  state: string;
  createdAt: string;
  record: unknown;
}

/** The sandboxes that there are. */
export class SandboxTable {
  private readonly upsert: StatementSync;
  private readonly drop: StatementSync;
  private readonly all: StatementSync;

  constructor(database: DatabaseSync) {
    this.upsert = database.prepare(
      `INSERT INTO sandboxes (id, name, state, record, created_at) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET state = excluded.state, record = excluded.record`,
    );
    this.drop = database.prepare("DELETE FROM sandboxes WHERE id = ?");
    this.all = database.prepare(
      "SELECT id, name, state, record, created_at FROM sandboxes ORDER BY created_at",
    );
  }

  put(row: SandboxRow): void {
    this.upsert.run(row.id, row.name, row.state, JSON.stringify(row.record), row.createdAt);
  }

  delete(id: string): void {
    this.drop.run(id);
  }

  list(): SandboxRow[] {
    return this.all.all().map((row) => ({
      id: String(row.id),
      name: String(row.name),
      state: String(row.state),
      createdAt: String(row.created_at),
      record: JSON.parse(String(row.record)) as unknown,
    }));
  }
}
