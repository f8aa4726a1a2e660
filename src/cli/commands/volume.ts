import { Command } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { Volume } from "../../sdk/index.ts";
import { canAsk, confirm } from "../prompt.ts";
import { formatAge, formatBytes, parseMebibytes } from "../quantity.ts";
import { printTable } from "../table.ts";
import { print, printJson } from "../terminal.ts";

const HELP = `
A volume is a disk with a name that outlives sandboxes: --volume NAME:/path of msb run and msb create mounts it,
and makes it if there is none. It has one writer at a time, or many readers (--volume NAME:/path:ro).

Examples:
  $ msb volume create data --size 20G
  $ msb run --volume data:/data msb/base -- sh -c 'date >> /data/log'
  $ msb volume ls
  $ msb volume rm data`;

export function command(): Command {
  const volume = new Command("volume").description("Create, list and remove volumes.");
  volume.addHelpText("after", HELP);
  volume
    .command("create")
    .description("Create a volume.")
    .argument("<NAME>", "its name")
    .option("--size <SIZE>", "its size, as 20G (default and least: 4G)", parseMebibytes)
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  $ msb volume create data --size 20G")
    .action(async (name: string, { size, json }: { size?: number; json?: boolean }) => {
      const created = await Volume.create(name, { sizeMiB: size });
      if (json) printJson(created);
      else print(created.name);
    });
  volume
    .command("ls")
    .description("List volumes.")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  $ msb volume ls --json")
    .action(list);
  volume
    .command("inspect")
    .description("Show all that is known of volumes, as JSON.")
    .argument("<NAME...>", "names")
    .addHelpText("after", "\nExamples:\n  $ msb volume inspect data")
    .action(async (names: string[]) => {
      printJson(await Promise.all(names.map((name) => Volume.get(name))));
    });
  volume
    .command("rm")
    .description("Remove volumes that no sandbox has, with all that is in them.")
    .argument("<NAME...>", "names")
    .addHelpText("after", "\nExamples:\n  $ msb volume rm data")
    .action(async (names: string[]) => {
      for (const name of names) {
        await Volume.remove(name);
        print(name);
      }
    });
  volume
    .command("prune")
    .description("Remove all volumes that no sandbox has, with all that is in them.")
    .option("-f, --force", "do not ask")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  $ msb volume prune --force")
    .action(prune);
  return volume;
}

async function list({ json }: { json?: boolean }): Promise<void> {
  const volumes = await Volume.list();
  if (json) {
    printJson(volumes);
    return;
  }
  printTable(
    ["NAME", "SIZE", "ON DISK", "AGE", "SANDBOXES"],
    volumes.map(({ name, sizeMiB, usedBytes, createdAt, users }) => [
      name,
      formatBytes(sizeMiB * 1024 ** 2),
      formatBytes(usedBytes),
      formatAge(createdAt),
      users.map((user) => (user.readOnly ? `${user.name} (ro)` : user.name)).join(", "),
    ]),
  );
}

async function prune({ force, json }: { force?: boolean; json?: boolean }): Promise<void> {
  if (!force) {
    if (!canAsk()) {
      throw new SandboxError("invalid_argument", "there is nobody to ask whether to prune", {
        hint: "msb volume prune --force",
      });
    }
    if (!(await confirm("Remove all volumes that no sandbox has, with all that is in them?"))) return;
  }
  const report = await Volume.prune();
  if (json) {
    printJson(report);
    return;
  }
  for (const name of report.removed) print(name);
  print(`freed ${formatBytes(report.freedBytes)}`);
}
