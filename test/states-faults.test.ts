import { afterAll, beforeAll, expect, test } from "vitest";
import { brokenOff, FaultRoom, GROUPS } from "./state-faults.ts";

/**
 * Operations on stored states that are broken off at each of their steps. The suite has a few of each; `npm run soak -- states faults`
 * has them all.
 */

let room: FaultRoom;
beforeAll(async () => {
  room = await FaultRoom.open("state-faults");
});
afterAll(() => room?.[Symbol.asyncDispose]());

test.each(GROUPS)("$operation: whole or absent, and the sandbox goes on or says why not", async (group) => {
  for (const fault of group.inSuite) expect(await brokenOff(room, fault), JSON.stringify(fault)).toEqual([]);
});
