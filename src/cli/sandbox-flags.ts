import { readFileSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import { SandboxError } from "../contract/errors.ts";
import type { SandboxSpecInput } from "../sdk/index.ts";
import { parseCount, parseMebibytes } from "./quantity.ts";

/** The flags that describe a sandbox, for `run` and `create`; and those of a process, which `exec` has too. */

export interface ProcessFlags {
  env?: string[];
  envFile?: string[];
  workdir?: string;
  user?: string;
  interactive?: boolean;
  tty?: boolean;
}

export interface SandboxFlags extends ProcessFlags {
  name?: string;
  cpus?: number;
  memory?: number;
  disk?: number;
  label?: string[];
  entrypoint?: string;
  shell?: string;
}

const collect = (value: string, before: string[] = []) => [...before, value];

export function addProcessFlags(command: Command): Command {
  return command
    .option(
      "-e, --env <KEY=VALUE>",
      "set a variable; KEY alone takes its value from here (repeatable)",
      collect,
    )
    .option("--env-file <FILE>", "set the variables of a file of KEY=VALUE lines (repeatable)", collect)
    .option("-w, --workdir <DIR>", "working directory (default: the image's)")
    .option("-u, --user <USER>", "user as name, uid, name:group or uid:gid (default: the image's)")
    .addOption(new Option("-i, --interactive").hideHelp())
    .addOption(new Option("-t, --tty").hideHelp());
}

export function addSandboxFlags(command: Command): Command {
  command
    .option("-n, --name <NAME>", "name of the sandbox (default: generated)")
    .option("-c, --cpus <N>", "virtual CPUs (default: 1)", parseCount)
    .option("-m, --memory <SIZE>", "memory, as 512M or 2G (default: 256M)", parseMebibytes)
    .option("--disk <SIZE>", "space for what it writes, as 8G (default: 4G)", parseMebibytes);
  return addProcessFlags(command)
    .option("-l, --label <KEY=VALUE>", "attach a label (repeatable)", collect)
    .option(
      "--entrypoint <PROGRAM>",
      'program that the command is given to; "" for none (default: the image\'s)',
    )
    .option("--shell <PATH>", "shell of the SDK's shell() (default: /bin/sh)");
}

/** The spec that the flags ask for. Limits are the daemon's business: it knows the host. */
export function specOf(image: string, flags: SandboxFlags): SandboxSpecInput {
  refuseTerminal(flags);
  return {
    image,
    ...(flags.name !== undefined && { name: flags.name }),
    ...(flags.cpus !== undefined && { cpus: flags.cpus }),
    ...(flags.memory !== undefined && { memoryMiB: flags.memory }),
    ...(flags.disk !== undefined && { diskMiB: flags.disk }),
    ...processOf(flags),
    ...(flags.label && { labels: pairs(flags.label, "--label") }),
    ...(flags.entrypoint !== undefined && { entrypoint: flags.entrypoint === "" ? [] : [flags.entrypoint] }),
    ...(flags.shell !== undefined && { shell: flags.shell }),
  };
}

export function processOf(flags: ProcessFlags): {
  env?: Record<string, string>;
  workdir?: string;
  user?: string;
} {
  refuseTerminal(flags);
  const env = environment(flags);
  return {
    ...(env && { env }),
    ...(flags.workdir !== undefined && { workdir: flags.workdir }),
    ...(flags.user !== undefined && { user: flags.user }),
  };
}

function refuseTerminal(flags: ProcessFlags): void {
  if (!flags.tty) return;
  throw new SandboxError("unsupported", "sandboxes have no terminals yet", {
    hint: "leave out -t; stdin, stdout and stderr are connected anyway",
  });
}

function environment({ env, envFile }: ProcessFlags): Record<string, string> | undefined {
  if (env === undefined && envFile === undefined) return undefined;
  const lines = (envFile ?? []).flatMap((file) =>
    readFileSync(file, "utf8")
      .split(/\r?\n/)
      .filter((line) => line.trim() !== "" && !line.trimStart().startsWith("#")),
  );
  const fromHere = (pair: string) => (pair.includes("=") ? pair : `${pair}=${process.env[pair] ?? ""}`);
  const known = (pair: string) => pair.includes("=") || process.env[pair] !== undefined;
  return pairs([...lines, ...(env ?? [])].filter(known).map(fromHere), "--env");
}

export function pairs(list: readonly string[], flag: string): Record<string, string> {
  return Object.fromEntries(
    list.map((pair) => {
      const at = pair.indexOf("=");
      if (at <= 0) throw new InvalidArgumentError(`option '${flag}': "${pair}" is not of the form KEY=VALUE`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

/** The command after the image or the sandbox; the `--` before it is for the eye. */
export function commandOf(words: readonly string[]): string[] {
  const [first = ""] = words;
  if (/^--[a-z]/.test(first)) {
    throw new SandboxError("invalid_argument", `${first} stands behind the name, where the command begins`, {
      hint: "options go before the name, the command behind it",
    });
  }
  return words[0] === "--" ? words.slice(1) : [...words];
}
