import { once } from "./faults.ts";
import type { Soak } from "./soak.ts";

/** Stored states: databases in cycles of being stored, killed and loaded, and each operation broken off at each of its steps. */
export const states: Soak = {
  loss: async (cycles = 200) => inVitest("states-loss", { MSB_LOSS_CYCLES: String(cycles) }),
  faults: async (rounds = 1) => {
    const failures: string[] = [];
    for (let i = 0; i < rounds; i++)
      failures.push(...(await inVitest("states-faults", { MSB_ALL_FAULTS: "1" })));
    return failures;
  },
};

async function inVitest(name: string, env: Record<string, string>): Promise<string[]> {
  const { tally, failed, output } = await once(`test/${name}.test.ts`, env);
  for (const line of output.split("\n")) if (/: nothing lost$|faults of \d+$/.test(line)) console.log(line);
  if (tally.failed === 0) return [];
  console.log(output);
  return failed.length > 0 ? failed : [`${name} did not run`];
}
