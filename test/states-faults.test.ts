import { afterAll, beforeAll, expect, test } from "vitest";
import { brokenOff, type Fault, FaultRoom, GROUPS } from "./state-faults.ts";

/**
 * Operations on stored states that are broken off at each of their steps. The suite has a few of each; `npm run soak -- states faults`
 * has them all (`MSB_ALL_FAULTS`).
 */

const ALL = process.env.MSB_ALL_FAULTS === "1";

let room: FaultRoom;
beforeAll(async () => {
  room = await FaultRoom.open("state-faults");
});
afterAll(() => room?.[Symbol.asyncDispose]());

test.each(GROUPS)(
  "$operation: whole or absent, and the sandbox goes on or says why not",
  async ({ all, inSuite }) => {
    const broken: { fault: Fault; how: string[] }[] = [];
    const faults = ALL ? all : inSuite;
    for (const fault of faults) {
      const how = await brokenOff(room, fault).catch((error) => [String(error)]);
      if (how.length > 0) broken.push({ fault, how });
    }
    expect(broken).toEqual([]);
    console.log(`${faults.length} faults of ${all.length}`);
  },
  ALL ? 3_600_000 : 120_000,
);
