import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { asTable, type Report } from "./report.ts";
import { Workbench } from "./workbench.ts";

/**
 * `npm run bench -- NAME [--n N] [--json FILE]`. Each bench answers one question, with everything that it compares measured
 * side by side in one run: machines are shared and noisy, so only ratios of one run mean much.
 */
const BENCHES: Record<string, () => Promise<{ run: (bench: Workbench, n?: number) => Promise<Report> }>> = {
  startup: () => import("./startup.ts"),
  density: () => import("./density.ts"),
  exec: () => import("./exec.ts"),
  files: () => import("./files.ts"),
  boot: () => import("./boot.ts"),
  image: () => import("./image.ts"),
  network: () => import("./network.ts"),
  states: () => import("./states.ts"),
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { n: { type: "string" }, json: { type: "string" } },
});
const [name = ""] = positionals;
const load = BENCHES[name];
if (load === undefined) {
  console.error(
    `usage: npm run bench -- NAME [--n N] [--json FILE], with NAME one of: ${Object.keys(BENCHES).join(", ")}`,
  );
  process.exit(2);
}
const { run } = await load();
await using bench = await Workbench.open();
const report = await run(bench, values.n === undefined ? undefined : Number(values.n));
console.log(`## ${name}\n\n${bench.description}\n\n${asTable(report)}`);
if (values.json !== undefined) {
  await writeFile(values.json, `${JSON.stringify({ host: bench.description, ...report }, null, 2)}\n`);
}
process.exitCode = report.verdicts.every(({ kept }) => kept) ? 0 : 1;
