import { Command } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { Pool } from "../../sdk/index.ts";
import { ProgressDisplay } from "../progress.ts";
import { formatBytes, parseCount, parseMebibytes } from "../quantity.ts";
import { printTable } from "../table.ts";
import { print, printJson } from "../terminal.ts";

const HELP = `
A pool keeps VMs of an image loaded, so that a sandbox is there in a few milliseconds. msb run, msb create and the SDK
take one by themselves where one fits, once. Another is made in its place when the machine has time.

Not from a pool comes what has volumes, folders or a tmpfs, a group, bounds of its disk, or a disk of another size than
the usual.

Examples:
  $ msb pool set python=3                          three VMs of the image python
  $ msb pool set python=2 --memory 1G --cpus 2     and two larger ones
  $ msb pool ls
  $ msb pool rm python`;

export function command(): Command {
  const pool = new Command("pool").description("Keep VMs ready, so that sandboxes are there at once.");
  pool.addHelpText("after", HELP);
  pool
    .command("set")
    .description("Keep so many VMs of an image ready, from now on.")
    .argument("<IMAGE=N...>", "images, and how many of each")
    .option("-c, --cpus <N>", "virtual CPUs (default: 1)", parseCount)
    .option("-m, --memory <SIZE>", "memory, as 512M or 2G (default: 256M)", parseMebibytes)
    .option("--no-net", "for sandboxes without a network (--net none)")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  $ msb pool set python=3 --memory 512M")
    .action(set);
  pool
    .command("ls")
    .description(
      "List pools: how many VMs are wanted and ready, and how often one was there when it was asked for.",
    )
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  $ msb pool ls --json")
    .action(list);
  pool
    .command("rm")
    .description("Keep none of these images any more.")
    .argument("<IMAGE...>", "images")
    .addHelpText("after", "\nExamples:\n  $ msb pool rm python")
    .action(async (images: string[]) => {
      for (const image of images) {
        await Pool.remove(image);
        print(image);
      }
    });
  return pool;
}

interface SetFlags {
  cpus?: number;
  memory?: number;
  net: boolean;
  json?: boolean;
}

async function set(wanted: string[], { cpus, memory, net, json }: SetFlags): Promise<void> {
  const pools = wanted.map(parseWanted);
  using progress = new ProgressDisplay();
  const infos = [];
  for (const { image, count } of pools) {
    const shape = { image, cpus, memoryMiB: memory, network: net };
    infos.push(await Pool.set({ ...shape, count }, { onProgress: progress.update }));
  }
  progress.done();
  if (json) printJson(infos);
  else for (const { image } of infos) print(image);
}

/** `python=3`; an image's name may have no `=`. */
function parseWanted(text: string): { image: string; count: number } {
  const [, image, count] = /^([^=]+)=([1-9]\d{0,3})$/.exec(text) ?? [];
  if (image !== undefined && count !== undefined) return { image, count: Number(count) };
  throw new SandboxError("invalid_argument", `'${text}' does not say how many of which image`, {
    hint: "As in: msb pool set python=3. To keep none any more: msb pool rm python",
  });
}

async function list({ json }: { json?: boolean }): Promise<void> {
  const pools = await Pool.list();
  if (json) {
    printJson(pools);
    return;
  }
  printTable(
    ["IMAGE", "CPUS", "MEMORY", "NETWORK", "READY", "WANTED", "FILLING", "HITS", "MISSES", "NOTE"],
    pools.map(
      ({ image, cpus, memoryMiB, network, ready, wanted, filling, hits, misses, problem, learned }) => [
        image,
        String(cpus),
        formatBytes(memoryMiB * 1024 ** 2),
        network ? "yes" : "no",
        String(ready),
        String(wanted),
        filling ? "yes" : "no",
        String(hits),
        String(misses),
        problem ?? (learned ? "of recent use" : ""),
      ],
    ),
  );
}
