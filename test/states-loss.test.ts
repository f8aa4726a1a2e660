import { afterAll, beforeAll, expect, test } from "vitest";
import { randomsOf } from "./randoms.ts";
import { SandboxDriver } from "./sandbox-driver.ts";
import { type Database, LossRun, POSTGRES, SQLITE, WAYS } from "./state-loss.ts";

/**
 * What a database has acknowledged is there after its sandbox was stored, killed and loaded. `npm run soak -- states` has more cycles
 * (`MSB_LOSS_CYCLES`), and a seed can be given again (`MSB_LOSS_SEED`).
 */

/** PostgreSQL takes five times as long as SQLite. */
const cyclesOf = ({ image }: Database) =>
  Number(process.env.MSB_LOSS_CYCLES ?? (image === SQLITE.image ? WAYS.length : 1));
const SEED = Number(process.env.MSB_LOSS_SEED ?? Math.floor(Math.random() * 2 ** 32));

const TIMEOUT_MS = 60_000 * (Number(process.env.MSB_LOSS_CYCLES ?? WAYS.length) + 2);

let driver: SandboxDriver;
beforeAll(async () => {
  driver = await SandboxDriver.open("states-loss");
});
afterAll(() => driver?.[Symbol.asyncDispose]());

const DATABASES: [string, Database][] = [
  ["SQLite", SQLITE],
  ["PostgreSQL", POSTGRES],
];

test.each(DATABASES)("%s loses nothing", { timeout: TIMEOUT_MS }, async (name, database) => {
  await driver.importImage(database.image.slice("msb/".length));
  const cycles = cyclesOf(database);
  const random = randomsOf(SEED);
  await using run = await LossRun.begin(driver, database);
  for (let cycle = 0; cycle < cycles; cycle++) {
    const lost = await run.cycle(WAYS[(SEED + cycle) % WAYS.length]!, random());
    expect(lost, `cycle ${cycle + 1} of ${cycles}, seed ${SEED}`).toEqual([]);
  }
  console.log(`${name}: ${cycles} cycles, ${await run.commits()} commits, seed ${SEED}: nothing lost`);
});
