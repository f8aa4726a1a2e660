import { parseArgs } from "node:util";
import type { Soak } from "./soak.ts";

/**
 * `npm run soak -- NAME [PART...] [--n N]`: what takes too long for every run of the tests. Each part prints what it saw, and the program
 * ends with 1 if anything was not as promised. `npm run build` comes first: what runs is the built program.
 */
const SOAKS: Record<string, () => Promise<Soak>> = {
  files: async () => (await import("./files.ts")).files,
  faults: async () => (await import("./faults.ts")).faults,
  states: async () => (await import("./states.ts")).states,
};

const { values, positionals } = parseArgs({ allowPositionals: true, options: { n: { type: "string" } } });
const [name = "", ...parts] = positionals;
const soak = await SOAKS[name]?.();
const n = values.n === undefined ? undefined : Number(values.n);
const unknown = parts.filter((part) => soak?.[part] === undefined);
if (soak === undefined || unknown.length > 0 || (n !== undefined && !(n > 0))) {
  const names = soak === undefined ? SOAKS : soak;
  console.error(
    `usage: npm run soak -- NAME [PART...] [--n N], with one of: ${Object.keys(names).join(", ")}`,
  );
  process.exit(2);
}
for (const part of parts.length > 0 ? parts : Object.keys(soak)) {
  const failures = await soak[part]!(n);
  for (const failure of failures) console.log(`FAILED ${name} ${part}: ${failure}`);
  if (failures.length > 0) process.exitCode = 1;
}
