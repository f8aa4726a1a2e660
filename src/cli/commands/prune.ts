import { Command } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { Image } from "../../sdk/index.ts";
import { canAsk, confirm } from "../prompt.ts";
import { formatBytes } from "../quantity.ts";
import { print, printable, printJson } from "../terminal.ts";

const HELP = `
Frees images without a name and layers that nothing refers to. What a sandbox stands on always stays. Asks first on a
terminal; elsewhere it wants --force.

Examples:
  $ msb prune
  $ msb prune --all --force              also images with a name that no sandbox stands on
  $ msb prune --build-cache --force      also what builds keep to be faster`;

interface PruneFlags {
  all?: boolean;
  buildCache?: boolean;
  force?: boolean;
  json?: boolean;
}

export function command(): Command {
  return new Command("prune")
    .description("Free what nothing refers to.")
    .option("-a, --all", "also images with a name that no sandbox stands on")
    .option("--build-cache", "also what builds keep to be faster")
    .option("-f, --force", "do not ask")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action(prune);
}

async function prune({ all = false, buildCache = false, force, json }: PruneFlags): Promise<void> {
  if (!force && !(await agreed(all, buildCache))) return;
  const report = await Image.prune({ all, buildCache });
  if (json) {
    printJson(report);
    return;
  }
  for (const name of report.untagged) print(`untagged ${printable(name)}`);
  const cache = buildCache ? `, ${report.cacheEntries} entries of the build cache` : "";
  print(`removed ${report.images} images, ${report.layers} layers${cache}`);
  print(`freed ${formatBytes(report.freedBytes)}`);
}

async function agreed(all: boolean, buildCache: boolean): Promise<boolean> {
  if (!canAsk()) {
    throw new SandboxError("invalid_argument", "there is nobody to ask whether to prune", {
      hint: "msb prune --force",
    });
  }
  const what = [
    all ? "all images that no sandbox stands on" : "images without a name",
    ...(buildCache ? ["the build cache"] : []),
  ];
  return confirm(`Remove ${what.join(" and ")}?`);
}
