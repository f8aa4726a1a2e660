import { Command } from "commander";
import { Snapshot, type SnapshotInfo, type StoredVolumes } from "../../sdk/index.ts";
import { each } from "../each.ts";
import { interruptible } from "../interruption.ts";
import { ProgressDisplay } from "../progress.ts";
import { formatAge, formatBytes } from "../quantity.ts";
import { printTable } from "../table.ts";
import { print, printable, printJson } from "../terminal.ts";
import { addVolumesFlag } from "./fork.ts";
import { addTransferCommands } from "./snapshot-transfer.ts";

const HELP = `
A snapshot is the stored state of a sandbox. Of one that runs it has the memory, the processes and the files; of one
that is stopped, the files. msb restore makes sandboxes that go on from there.

Examples:
  $ msb snapshot create box before
  $ msb restore before --name again
  $ msb snapshot ls
  $ msb snapshot rm before`;

export function command(): Command {
  const snapshot = new Command("snapshot").description(
    "Store the state of sandboxes, and look after what is stored.",
  );
  snapshot.addHelpText("after", HELP);
  addVolumesFlag(
    snapshot
      .command("create")
      .description("Store the state of a sandbox, which goes on as it was.")
      .argument("<SANDBOX>", "name or id")
      .argument("[NAME]", "name of the snapshot (default: the sandbox's and a number)"),
  )
    .option("--json", "print all that is known of it, as JSON")
    .addHelpText("after", "\nExamples:\n  $ msb snapshot create box before")
    .action((ref: string, name: string | undefined, flags: CreateFlags) =>
      interruptible((signal) => create(ref, name, flags, signal)),
    );
  snapshot
    .command("ls")
    .description("List snapshots, oldest first.")
    .option("-q, --quiet", "only their names")
    .option("--prepared", "only prepared images (msb prepare)")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  $ msb snapshot ls --json")
    .action(list);
  snapshot
    .command("inspect")
    .description("Show all that is known of snapshots, as JSON.")
    .argument("<SNAPSHOT...>", "names or ids")
    .addHelpText("after", "\nExamples:\n  $ msb snapshot inspect before")
    .action(async (refs: string[]) => printJson(await Promise.all(refs.map((ref) => Snapshot.get(ref)))));
  snapshot
    .command("rm")
    .description("Remove snapshots. Sandboxes and snapshots that were made of them stay whole.")
    .argument("<SNAPSHOT...>", "names or ids")
    .addHelpText("after", "\nExamples:\n  $ msb snapshot rm before")
    .action((refs: string[]) => each(refs, (ref) => Snapshot.remove(ref)));
  snapshot
    .command("verify")
    .description("Read all of a snapshot and compare it with its checksums.")
    .argument("<SNAPSHOT...>", "names or ids")
    .addHelpText("after", "\nExamples:\n  $ msb snapshot verify before")
    .action((refs: string[]) =>
      interruptible((signal) =>
        each(refs, async (ref) => (await Snapshot.get(ref, { signal })).verify({ signal })),
      ),
    );
  addTransferCommands(snapshot);
  return snapshot;
}

interface CreateFlags {
  volumes?: StoredVolumes;
  json?: boolean;
}

async function create(
  ref: string,
  name: string | undefined,
  { json, volumes }: CreateFlags,
  signal: AbortSignal,
): Promise<void> {
  using progress = new ProgressDisplay();
  const made = await Snapshot.create(ref, {
    ...(name !== undefined && { name }),
    ...(volumes !== undefined && { volumes }),
    signal,
    onProgress: progress.update,
  });
  progress.done();
  if (json) printJson(made);
  else print(made.name);
}

interface ListFlags {
  quiet?: boolean;
  prepared?: boolean;
  json?: boolean;
}

async function list({ quiet, prepared, json }: ListFlags): Promise<void> {
  const all = (await Snapshot.list()).map(({ info }) => info);
  const shown = prepared ? all.filter((info) => info.prepared !== undefined) : all;
  if (json) return printJson(shown);
  if (quiet) {
    for (const { name } of shown) print(name);
    return;
  }
  const names = new Map(all.map(({ id, name }) => [id, name]));
  printTable(
    ["NAME", "OF", "KIND", "IMAGE", "MEMORY", "ON DISK", "PARENT", "AGE"],
    shown.map((info) => [
      info.name,
      info.sandbox.name,
      kindOf(info),
      printable(info.prepared?.image ?? info.image),
      formatBytes(info.memoryMiB * 1024 ** 2),
      formatBytes(info.bytes.memory + info.bytes.disks + info.bytes.volumes),
      // One that is gone, or is what a fork or a suspended sandbox was loaded from, has no name that would say anything.
      names.get(info.parent ?? "") ?? "",
      formatAge(info.createdAt),
    ]),
  );
}

function kindOf({ kind, prepared }: SnapshotInfo): string {
  return prepared === undefined ? kind : "prepared";
}
