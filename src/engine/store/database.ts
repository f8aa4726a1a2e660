import { DatabaseSync } from "node:sqlite";
import { SandboxError } from "../../contract/index.ts";

/**
 * `state.db`: what must survive the daemon. SQLite in WAL mode; every write is a transaction of its own, small and
 * synchronous, so that what was written is there before it is acted on.
 */

/** Each entry takes the schema one version further; entries are never edited once released. */
const MIGRATIONS = [
  `CREATE TABLE sandboxes (
     id TEXT PRIMARY KEY,
     name TEXT NOT NULL UNIQUE,
     state TEXT NOT NULL,
     record TEXT NOT NULL,
     created_at TEXT NOT NULL
   ) STRICT;
   CREATE TABLE events (
     seq INTEGER PRIMARY KEY AUTOINCREMENT,
     time TEXT NOT NULL,
     type TEXT NOT NULL,
     sandbox TEXT,
     message TEXT,
     data TEXT
   ) STRICT;`,
  `CREATE TABLE pools (
     image TEXT NOT NULL,
     cpus INTEGER NOT NULL,
     memory_mib INTEGER NOT NULL,
     network INTEGER NOT NULL,
     count INTEGER NOT NULL,
     PRIMARY KEY (image, cpus, memory_mib, network)
   ) STRICT;`,
];

/** @throws `permission_denied` if the file cannot be opened, `unsupported` if a newer microsandbox wrote it */
export function openDatabase(file: string): DatabaseSync {
  let database: DatabaseSync;
  try {
    database = new DatabaseSync(file, { timeout: 5_000 });
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;");
  } catch (cause) {
    throw new SandboxError(
      "permission_denied",
      `the database '${file}' cannot be opened: ${(cause as Error).message}`,
      {
        hint: "Check that MSB_HOME and the files in it belong to you.",
        cause,
      },
    );
  }
  migrate(database, file);
  return database;
}

function migrate(database: DatabaseSync, file: string): void {
  const version = Number(database.prepare("PRAGMA user_version").get()?.user_version ?? 0);
  if (version > MIGRATIONS.length) {
    database.close();
    throw new SandboxError(
      "unsupported",
      `the database '${file}' was written by a newer microsandbox (schema ${version})`,
      {
        hint: "Install that version again, or use another MSB_HOME.",
      },
    );
  }
  for (let next = version; next < MIGRATIONS.length; next++) {
    database.exec(`BEGIN; ${MIGRATIONS[next]} PRAGMA user_version = ${next + 1}; COMMIT;`);
  }
}
