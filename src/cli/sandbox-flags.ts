import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { SandboxError } from "../contract/errors.ts";
import type { OnIdle } from "../contract/index.ts";
import type { Copy, PullPolicy, SandboxSpecInput } from "../sdk/index.ts";
import { addCopyFlags, type CopyFlags, parseCopy } from "./copy-flags.ts";
import { parseDetachKeys } from "./detach-keys.ts";
import { addInlineFileFlags, type InlineFileFlags, inlineFilesOf } from "./inline-file-flags.ts";
import { addMountFlags, type MountFlags, mountsOf } from "./mount-flags.ts";
import { addNetworkFlags, type NetworkFlags, networkOf } from "./network-flags.ts";
import { parseCount, parseMebibytes, parseMilliseconds } from "./quantity.ts";

/** The flags that describe a sandbox, for `run` and `create`; and those of a process, which `exec` has too. */

export interface ProcessFlags {
  env?: string[];
  envFile?: string[];
  workdir?: string;
  user?: string;
}

export interface TerminalFlags {
  /** As Docker's; stdin is connected anyway. */
  interactive?: boolean;
  tty?: boolean;
  detachKeys?: Buffer;
}

export interface SandboxFlags extends ProcessFlags, MountFlags, CopyFlags, InlineFileFlags, NetworkFlags {
  name?: string;
  cpus?: number;
  memory?: number;
  disk?: number;
  diskIops?: number;
  diskBps?: number;
  label?: string[];
  entrypoint?: string;
  shell?: string;
  maxDuration?: number;
  idleTimeout?: number;
  onIdle?: OnIdle;
  pull?: PullPolicy;
  platform?: string;
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
    .option("-u, --user <USER>", "user as name, uid, name:group or uid:gid (default: the image's)");
}

export function addTerminalFlags(command: Command): Command {
  return command
    .option("-t, --tty", "give the command a terminal: this one")
    .addOption(new Option("-i, --interactive").hideHelp())
    .option("--detach-keys <KEYS>", "keys that leave a terminal (default: ctrl-p,ctrl-q)", parseDetachKeys);
}

export function addSandboxFlags(command: Command): Command {
  return addSpecFlags(command.option("-n, --name <NAME>", "name of the sandbox (default: generated)"));
}

/** All of them but its name. */
export function addSpecFlags(command: Command): Command {
  command
    .option("-c, --cpus <N>", "virtual CPUs (default: 1)", parseCount)
    .option("-m, --memory <SIZE>", "memory, as 512M or 2G (default: 256M)", parseMebibytes)
    .option("--disk <SIZE>", "space for what it writes, as 8G (default: 4G)", parseMebibytes)
    .option(
      "--disk-iops <N>",
      "reads and writes of its disks in a second, at most (default: no limit)",
      parseCount,
    )
    .option(
      "--disk-bps <SIZE>",
      "bytes of its disks in a second, at most, as 50M (default: no limit)",
      parseMebibytes,
    );
  return addNetworkFlags(addInlineFileFlags(addCopyFlags(addMountFlags(addProcessFlags(command)))))
    .option("-l, --label <KEY=VALUE>", "attach a label (repeatable)", collect)
    .option(
      "--entrypoint <PROGRAM>",
      'program that the command is given to; "" for none (default: the image\'s)',
    )
    .option(
      "--max-duration <TIME>",
      "stop it so long after its start, as 1h (default: never)",
      parseMilliseconds,
    )
    .option(
      "--idle-timeout <TIME>",
      "stop it, or see --on-idle, when it was idle for so long, as 5m (default: never)",
      parseMilliseconds,
    )
    .addOption(
      new Option(
        "--on-idle <WHAT>",
        "what is done then: stop; or pause or suspend (on disk) until it is used (default: stop)",
      ).choices(["stop", "pause", "suspend"]),
    )
    .option("--shell <PATH>", "shell of the SDK's shell() (default: /bin/sh)")
    .addOption(
      new Option(
        "--pull <WHEN>",
        "fetch the image if it is missing, always or never (default: missing)",
      ).choices(["missing", "always", "never"]),
    )
    .option(
      "--platform <PLATFORM>",
      "variant of the image to fetch, as linux/arm64 (default: this machine's)",
    );
}

/** The spec that the flags ask for, and what they copy. Limits are the daemon's business: it knows the host. */
export function specOf(image: string, flags: SandboxFlags): SandboxSpecInput & { copies?: Copy[] } {
  const mounts = mountsOf(flags);
  const files = inlineFilesOf(flags);
  const network = networkOf(flags);
  return {
    image,
    ...(flags.name !== undefined && { name: flags.name }),
    ...(flags.cpus !== undefined && { cpus: flags.cpus }),
    ...(flags.memory !== undefined && { memoryMiB: flags.memory }),
    ...(flags.disk !== undefined && { diskMiB: flags.disk }),
    ...(flags.diskIops !== undefined && { diskIops: flags.diskIops }),
    ...(flags.diskBps !== undefined && { diskBytesPerSecond: flags.diskBps * 1024 ** 2 }),
    ...processOf(flags),
    ...(mounts.length > 0 && { mounts }),
    ...(files.length > 0 && { files }),
    ...(flags.copy && { copies: flags.copy.map(parseCopy) }),
    ...(network && { network }),
    ...(flags.label && { labels: pairs(flags.label, "--label") }),
    ...(flags.entrypoint !== undefined && { entrypoint: flags.entrypoint === "" ? [] : [flags.entrypoint] }),
    ...(flags.shell !== undefined && { shell: flags.shell }),
    ...(flags.maxDuration !== undefined && { maxDurationMs: flags.maxDuration }),
    ...(flags.idleTimeout !== undefined && { idleTimeoutMs: flags.idleTimeout }),
    ...(flags.onIdle !== undefined && { onIdle: flags.onIdle }),
    ...(flags.pull !== undefined && { pull: flags.pull }),
    ...(flags.platform !== undefined && { platform: flags.platform }),
  };
}

export function processOf(flags: ProcessFlags): {
  env?: Record<string, string>;
  workdir?: string;
  user?: string;
} {
  const env = environment(flags);
  return {
    ...(env && { env }),
    ...(flags.workdir !== undefined && { workdir: flags.workdir }),
    ...(flags.user !== undefined && { user: flags.user }),
  };
}

function environment({ env, envFile }: ProcessFlags): Record<string, string> | undefined {
  if (env === undefined && envFile === undefined) return undefined;
  const lines = (envFile ?? []).flatMap((file) =>
    readFileSync(file, "utf8")
      .split(/\r?\n/)
      .filter((line) => line.trim() !== "" && !line.trimStart().startsWith("#")),
  );
  return pairsFromHere([...lines, ...(env ?? [])], "--env");
}

/** As `pairs`; a name alone has the value of this process's environment, and is left out if it has none there. */
export function pairsFromHere(list: readonly string[], flag: string): Record<string, string> {
  const fromHere = (pair: string) => (pair.includes("=") ? pair : `${pair}=${process.env[pair] ?? ""}`);
  const known = (pair: string) => pair.includes("=") || process.env[pair] !== undefined;
  return pairs(list.filter(known).map(fromHere), flag);
}

export function pairs(list: readonly string[], flag: string): Record<string, string> {
  return Object.fromEntries(
    list.map((pair) => {
      const at = pair.indexOf("=");
      // Not commander's own error: what it throws while an action runs, nobody prints.
      if (at <= 0) {
        throw new SandboxError("invalid_argument", `${flag}: "${pair}" is not of the form KEY=VALUE`);
      }
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
