import type { Command } from "commander";
import { SandboxError } from "../../contract/errors.ts";
import { Snapshot } from "../../sdk/index.ts";
import { interruptible } from "../interruption.ts";
import { passphraseIn } from "../passphrase-file.ts";
import { type ReportFlags, reporterOf } from "../reporter.ts";
import { tarToStdout } from "../tar-output.ts";
import { note, print, printJson } from "../terminal.ts";

/** Snapshots on their way to and from other machines: `msb snapshot export` and `import`. */

const EXPORT_HELP = `
The file is a tar within zstd; with a passphrase it is encrypted in the format of age, and age opens it too.
Only its owner may read a file that is written with -o.

Examples:
  $ msb snapshot export before -o before.msb --passphrase-file secret.txt
  $ msb snapshot export before | ssh host msb snapshot import`;

const IMPORT_HELP = `
It can be restored where QEMU, its accelerator and the CPU are those that it was made with; else msb restore says what
differs.

Examples:
  $ msb snapshot import before.msb --passphrase-file secret.txt
  $ ssh host msb snapshot export before | msb snapshot import --name theirs`;

interface ExportFlags {
  output?: string;
  passphraseFile?: string;
}

interface ImportFlags extends ReportFlags {
  name?: string;
  passphraseFile?: string;
}

export function addTransferCommands(snapshot: Command): void {
  snapshot
    .command("export")
    .description("Write a snapshot as one file, with all that was in the sandbox's memory.")
    .argument("<SNAPSHOT>", "name or id")
    .option("-o, --output <FILE>", "file to write (default: stdout)")
    .option("--passphrase-file <FILE>", "encrypt it with the passphrase in this file")
    .addHelpText("after", EXPORT_HELP)
    .action((ref: string, flags: ExportFlags) =>
      interruptible((signal) => exportSnapshot(ref, flags, signal)),
    );
  snapshot
    .command("import")
    .description("Read a snapshot that was exported.")
    .argument("[FILE]", "file to read (default: stdin)")
    .option("-n, --name <NAME>", "name to give it (default: the one that it had)")
    .option("--passphrase-file <FILE>", "decrypt it with the passphrase in this file")
    .option("-q, --quiet", "no progress")
    .option("--json", "print JSON")
    .addHelpText("after", IMPORT_HELP)
    .action((file: string | undefined, flags: ImportFlags) =>
      interruptible((signal) => importSnapshot(file, flags, signal)),
    );
}

async function exportSnapshot(ref: string, flags: ExportFlags, signal: AbortSignal): Promise<void> {
  const { output, passphraseFile } = flags;
  const passphrase = passphraseFile === undefined ? undefined : await passphraseIn(passphraseFile);
  const snapshot = await Snapshot.get(ref, { signal });
  if (passphrase === undefined) {
    const what = snapshot.info.kind === "running" ? "memory and disks" : "disks";
    note(`warning: the file holds the sandbox's ${what}, with all secrets in them, and is not encrypted`);
    note("hint: --passphrase-file FILE encrypts it");
  }
  if (output !== undefined) await snapshot.export({ to: output, passphrase, signal });
  else await tarToStdout(() => snapshot.export({ passphrase, signal }), "a snapshot");
}

async function importSnapshot(
  file: string | undefined,
  flags: ImportFlags,
  signal: AbortSignal,
): Promise<void> {
  const { name, passphraseFile, quiet, json } = flags;
  if (file === undefined && process.stdin.isTTY) {
    throw new SandboxError("invalid_argument", "there is no snapshot to read: stdin is a terminal", {
      hint: "name a file, or send one to stdin",
    });
  }
  const passphrase = passphraseFile === undefined ? undefined : await passphraseIn(passphraseFile);
  using reporter = reporterOf({ quiet: quiet ?? json ?? false });
  const made = await Snapshot.import(file ?? process.stdin, {
    name,
    passphrase,
    signal,
    onProgress: reporter.update,
  });
  reporter.done(made);
  if (json) printJson(made);
  else print(made.name);
}
