import { Command } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { VOLUME_SLOTS } from "../../contract/volumes.ts";
import { Template } from "../../sdk/index.ts";
import { ProgressDisplay } from "../progress.ts";
import { formatAge, formatBytes, parseCount, parseMebibytes } from "../quantity.ts";
import { printTable } from "../table.ts";
import { print, printJson } from "../terminal.ts";

const HELP = `
A template is the stored state of a VM of one shape, booted and waiting. The first sandbox of a shape builds it; every
other one starts from it.

Examples:
  $ msb template ls
  $ msb template build --cpus 2 --memory 1G        so that nobody waits for it later
  $ msb template rm 3fa9`;

export function command(): Command {
  const template = new Command("template").description("List, build and remove stored VM states.");
  template.addHelpText("after", HELP);
  template
    .command("ls")
    .description("List templates.")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  $ msb template ls --json")
    .action(list);
  template
    .command("build")
    .description("Build the template of a shape, unless it is there.")
    .option("-c, --cpus <N>", "virtual CPUs", parseCount, 1)
    .option("-m, --memory <SIZE>", "memory, as 512M or 2G (default: 256M)", parseMebibytes)
    .option("--volumes <N>", "for sandboxes of up to so many volumes (default: 0)", parseCount, 0)
    .option("--no-net", "for sandboxes without a network (--net none)")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  $ msb template build --memory 1G")
    .action(build);
  template
    .command("rm")
    .description("Remove templates. Sandboxes that run are not affected.")
    .argument("<KEY...>", "keys, or the beginnings of them")
    .addHelpText("after", "\nExamples:\n  $ msb template rm 3fa9")
    .action(async (keys: string[]) => {
      for (const key of keys) {
        await Template.remove(key);
        print(key);
      }
    });
  return template;
}

async function list({ json }: { json?: boolean }): Promise<void> {
  const templates = await Template.list();
  if (json) {
    printJson(templates);
    return;
  }
  printTable(
    ["KEY", "CPUS", "MEMORY", "VOLUMES", "NETWORK", "ACCELERATOR", "QEMU", "ON DISK", "AGE", "USABLE"],
    templates.map(({ key, shape, accelerator, qemuVersion, memoryBytes, stateBytes, createdAt, usable }) => [
      key.slice(0, 12),
      String(shape.cpus),
      formatBytes(shape.memoryMiB * 1024 ** 2),
      String(shape.volumeSlots),
      shape.network ? "yes" : "no",
      accelerator,
      qemuVersion,
      formatBytes(memoryBytes + stateBytes),
      formatAge(createdAt),
      usable ? "yes" : "no",
    ]),
  );
}

interface BuildFlags {
  cpus: number;
  memory?: number;
  volumes: number;
  net: boolean;
  json?: boolean;
}

async function build(flags: BuildFlags): Promise<void> {
  const volumeSlots = VOLUME_SLOTS.find((slots) => slots >= flags.volumes);
  if (volumeSlots === undefined) {
    throw new SandboxError("invalid_argument", `a sandbox has at most ${VOLUME_SLOTS.at(-1)} volumes`);
  }
  using progress = new ProgressDisplay();
  const template = await Template.build(
    { cpus: flags.cpus, memoryMiB: flags.memory ?? 256, volumeSlots, network: flags.net },
    { onProgress: progress.update },
  );
  progress.done();
  if (flags.json) printJson(template);
  else print(template.key);
}
