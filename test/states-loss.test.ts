import { afterAll, beforeAll, expect, test } from "vitest";
import { randomsOf } from "./randoms.ts";
import { SandboxDriver } from "./sandbox-driver.ts";
import { type Database, LossRun, POSTGRES, SQLITE, WAYS } from "./state-loss.ts";

/**
 * What a database has acknowledged is there after its sandbox was stored, killed and loaded. `npm run soak -- states` has more cycles
 * (`MSB_LOSS_CYCLES`), and a seed can be given again (`MSB_LOSS_SEED`).
 */

const CYCLES = Number(process.env.MSB_LOSS_CYCLES ?? WAYS.length);
const SEED = Number(process.env.MSB_LOSS_SEED ?? Math.floor(Math.random() * 2 ** 32));

let driver: SandboxDriver;
beforeAll(async () => {
  driver = await SandboxDriver.open("states-loss");
});
afterAll(() => driver?.[Symbol.asyncDispose]());

const DATABASES: [string, Database][] = [
  ["SQLite", SQLITE],
  ["PostgreSQL", POSTGRES],
];

test.each(DATABASES)(
  "%s loses nothing",
  async (name, database) => {
    await driver.importImage(database.image.slice("msb/".length));
    const random = randomsOf(SEED);
    await using run = await LossRun.begin(driver, database);
    for (let cycle = 0; cycle < CYCLES; cycle++) {
      const lost = await run.cycle(WAYS[cycle % WAYS.length]!, random());
      expect(lost, `cycle ${cycle + 1} of ${CYCLES}, seed ${SEED}`).toEqual([]);
    }
    console.log(`${name}: ${CYCLES} cycles, ${await run.commits()} commits, seed ${SEED}: nothing lost`);
  },
  60_000 * (CYCLES + 2),
);
