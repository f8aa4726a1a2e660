import type { DatabaseSync, StatementSync } from "node:sqlite";

/** A row of the table `pools`: of which image and shape how many VMs are to be kept ready. */
export interface PoolRow {
  image: string;
  cpus: number;
  memoryMiB: number;
  network: boolean;
  count: number;
}

/** What users want to have ready. */
export class PoolTable {
  readonly #upsert: StatementSync;
  readonly #drop: StatementSync;
  readonly #all: StatementSync;

  constructor(database: DatabaseSync) {
    this.#upsert = database.prepare(
      `INSERT INTO pools (image, cpus, memory_mib, network, count) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (image, cpus, memory_mib, network) DO UPDATE SET count = excluded.count`,
    );
    this.#drop = database.prepare(
      "DELETE FROM pools WHERE image = ? AND cpus = ? AND memory_mib = ? AND network = ?",
    );
    this.#all = database.prepare("SELECT * FROM pools ORDER BY image, cpus, memory_mib, network");
  }

  put({ image, cpus, memoryMiB, network, count }: PoolRow): void {
    this.#upsert.run(image, cpus, memoryMiB, Number(network), count);
  }

  delete({ image, cpus, memoryMiB, network }: Omit<PoolRow, "count">): void {
    this.#drop.run(image, cpus, memoryMiB, Number(network));
  }

  list(): PoolRow[] {
    return this.#all.all().map((row) => ({
      image: String(row.image),
      cpus: Number(row.cpus),
      memoryMiB: Number(row.memory_mib),
      network: row.network === 1,
      count: Number(row.count),
    }));
  }
}
