import type { Sandbox } from "../src/sdk/index.ts";
import { type SandboxDriver, until } from "./sandbox-driver.ts";

/**
 * A database that is written to without pause while its sandbox is stored, killed and loaded: each commit that was acknowledged before is
 * there after, and its own check finds nothing.
 */

export interface Database {
  image: string;
  memoryMiB: number;
  /** Readies it, once. */
  setUp: string;
  /** Writes 1, 2, 3, …, each in a commit of its own, and says `n` when it is acknowledged. Goes on after the highest that is there. */
  writer: readonly [string, ...string[]];
  /** Prints the highest number and how many there are; and fails, or prints more, if anything is damaged. */
  check: string;
  /** Has it go on after the sandbox was started again from its disk. */
  startAgain: string;
}

const SQLITE_WRITER = `
import sqlite3, os
db = sqlite3.connect("/root/db.sqlite", isolation_level=None)
db.execute("PRAGMA journal_mode=WAL"), db.execute("PRAGMA synchronous=FULL")
db.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, text BLOB)")
n = db.execute("SELECT coalesce(max(n), 0) FROM t").fetchone()[0]
while True:
    n += 1
    db.execute("INSERT INTO t VALUES (?, ?)", (n, os.urandom(200)))
    print(n, flush=True)
`;

export const SQLITE: Database = {
  image: "msb/python",
  memoryMiB: 256,
  setUp: "true",
  writer: ["python3", "-c", SQLITE_WRITER],
  check: `python3 -c '
import sqlite3
db = sqlite3.connect("/root/db.sqlite")
rows = db.execute("PRAGMA integrity_check").fetchall()
print(*db.execute("SELECT max(n), count(*) FROM t").fetchone(), *("" if row == ("ok",) else row for row in rows))'`,
  startAgain: "true",
};

const PG = "/usr/lib/postgresql/17/bin";
const PG_WRITER = `
import psycopg2, time
while True:
    try: db = psycopg2.connect("dbname=postgres user=postgres host=/tmp"); break
    except psycopg2.OperationalError: time.sleep(0.1)
db.autocommit = True
c = db.cursor()
c.execute("CREATE TABLE IF NOT EXISTS t (n int PRIMARY KEY, text text)")
c.execute("SELECT coalesce(max(n), 0) FROM t")
n = c.fetchone()[0]
while True:
    n += 1
    c.execute("INSERT INTO t VALUES (%s, repeat(md5(%s::text), 8))", (n, n))
    print(n, flush=True)
`;
const PG_START = `su postgres -c '${PG}/pg_ctl -D /var/lib/postgresql/data -w -t 100 -l /tmp/pg.log -o "-k /tmp -c listen_addresses=" start' >/dev/null || { cat /tmp/pg.log; exit 1; }`;

export const POSTGRES: Database = {
  image: "msb/postgres",
  memoryMiB: 512,
  setUp: `su postgres -c '${PG}/initdb -D /var/lib/postgresql/data -A trust' >/dev/null && ${PG_START} && su postgres -c 'psql -qh /tmp -c "CREATE EXTENSION amcheck"'`,
  writer: ["python3", "-c", PG_WRITER],
  check: `su postgres -c 'psql -Atqh /tmp -F " " -c "SELECT max(n), count(*) FROM t" && ${PG}/pg_amcheck -h /tmp --heapallindexed postgres'`,
  startAgain: PG_START,
};

/** What becomes of the sandbox in a cycle. */
export const WAYS = ["restore", "fork", "suspend"] as const;
export type Way = (typeof WAYS)[number];

export class LossRun implements AsyncDisposable {
  readonly #driver: SandboxDriver;
  readonly #database: Database;
  #sandbox: Sandbox;
  #writer: number;
  #cycle = 0;

  private constructor(driver: SandboxDriver, database: Database, sandbox: Sandbox, writer: number) {
    this.#driver = driver;
    this.#database = database;
    this.#sandbox = sandbox;
    this.#writer = writer;
  }

  static async begin(driver: SandboxDriver, database: Database): Promise<LossRun> {
    const { image, memoryMiB, setUp } = database;
    const sandbox = await driver.create({ name: "writer-0", image, memoryMiB });
    await done(sandbox, setUp);
    return new LossRun(driver, database, sandbox, await startWriter(sandbox, database));
  }

  /** How many commits there are. */
  async commits(): Promise<number> {
    return acknowledged(this.#sandbox, this.#writer);
  }

  /**
   * Stores it while it writes, kills it, and looks at what is loaded; then kills that as a power cut would, and looks at its disk alone.
   * @param random in [0, 1): how long it writes before it is stored
   * @returns what was lost or damaged
   */
  async cycle(way: Way, random: number): Promise<string[]> {
    const broken: string[] = [];
    const name = `writer-${++this.#cycle}`;
    const start = await acknowledged(this.#sandbox, this.#writer);
    const enough = start + 3 + Math.floor(random * 40);
    await until(
      async () => (await acknowledged(this.#sandbox, this.#writer)) >= enough,
      `it has written ${enough}`,
      120_000,
    );
    const before = await acknowledged(this.#sandbox, this.#writer);
    await this.#store(way, name);
    broken.push(...(await this.#check(`${way} ${this.#cycle}, loaded`, before)));
    // The writer runs on in it.
    await until(
      async () => (await acknowledged(this.#sandbox, this.#writer)) > before,
      "it writes on",
      120_000,
    );
    const last = await acknowledged(this.#sandbox, this.#writer);
    for (const pid of await this.#driver.vmPids()) process.kill(pid, "SIGKILL");
    await until(async () => (await this.#sandbox.inspect()).state === "failed", "it is told to have failed");
    await this.#sandbox.start();
    await done(this.#sandbox, this.#database.startAgain);
    broken.push(...(await this.#check(`${way} ${this.#cycle}, after a power cut`, last)));
    this.#writer = await startWriter(this.#sandbox, this.#database);
    return broken;
  }

  async #store(way: Way, name: string): Promise<void> {
    if (way === "suspend") {
      await this.#sandbox.suspend();
      await this.#sandbox.resume();
      return;
    }
    const parent = this.#sandbox;
    const snapshot = way === "restore" ? await parent.snapshot({ name }) : undefined;
    const children = await (snapshot?.restore({ name }) ?? parent.fork({ name }));
    await parent.remove({ force: true });
    await snapshot?.remove();
    this.#sandbox = children[0]!;
  }

  async #check(when: string, atLeast: number): Promise<string[]> {
    const { exitCode, stdout, stderr } = await this.#sandbox.shell(this.#database.check);
    const [highest = "", count = "", ...rest] = stdout.trim().split(/\s+/);
    const broken: string[] = [];
    if (exitCode !== 0 || rest.length > 0 || stderr !== "") broken.push(`${when}: ${stdout}${stderr}`);
    if (!(Number(highest) >= atLeast))
      broken.push(`${when}: ${atLeast} was acknowledged, and ${highest} is the last`);
    if (highest !== count) broken.push(`${when}: ${count} commits up to ${highest}`);
    return broken;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sandbox.remove({ force: true });
  }
}

async function startWriter(sandbox: Sandbox, { writer: [command, ...args] }: Database): Promise<number> {
  const { info } = await sandbox.processes.start(command, args);
  await until(async () => (await acknowledged(sandbox, info.process)) > 0, "it has written", 120_000);
  return info.process;
}

/** The last number that the writer has said. */
async function acknowledged(sandbox: Sandbox, process: number): Promise<number> {
  const records = await Array.fromAsync(sandbox.logs({ processes: [process], tail: 5 }));
  const lines = records
    .map(({ text }) => text ?? "")
    .join("")
    .split("\n");
  return Number(lines.at(-2) ?? 0);
}

async function done(sandbox: Sandbox, script: string): Promise<void> {
  const { exitCode, stdout, stderr } = await sandbox.shell(script, { timeoutMs: 120_000 });
  if (exitCode !== 0) throw new Error(`${script}: ${exitCode} ${stdout} ${stderr}`);
}
