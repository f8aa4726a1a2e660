import { resolve } from "node:path";
import type { Command } from "commander";
import { SandboxError } from "../contract/errors.ts";
import type { MountInput } from "../sdk/index.ts";
import { homePath } from "./home-path.ts";
import { parseMebibytes } from "./quantity.ts";

/** `--volume` and `--tmpfs`, for `run` and `create`. */

export interface MountFlags {
  volume?: string[];
  tmpfs?: string[];
}

const collect = (value: string, before: string[] = []) => [...before, value];

export function addMountFlags(command: Command): Command {
  return command
    .option(
      "-v, --volume <SOURCE:DIR>",
      "mount a volume by its name, or a folder of the host by its path (./src, /srv, ~/src); " +
        "behind it :ro, for volumes :dirsync, for folders ,uid=N,gid=N (repeatable)",
      collect,
    )
    .option("--tmpfs <DIR>", "mount memory; behind it :size=64M,mode=1777 (repeatable)", collect);
}

/** The mounts that the flags ask for. */
export function mountsOf({ volume = [], tmpfs = [] }: MountFlags): MountInput[] {
  return [...volume.map(parseVolume), ...tmpfs.map(parseTmpfs)];
}

/** `SOURCE:/target[:option,…]`; a source that begins with `.`, `/` or `~` is a folder of this host. */
export function parseVolume(text: string): MountInput {
  const flag = `--volume: "${text}"`;
  // The target is where the last `:/` stands: a folder's name may hold colons, and no option begins with a slash.
  const at = text.lastIndexOf(":/");
  if (at <= 0) {
    throw invalid(`${flag} is not of the form SOURCE:/folder`, "for example --volume data:/var/lib/data:ro");
  }
  const source = text.slice(0, at);
  const { path: target, options } = splitOptions(text.slice(at + 1), flag);
  const readOnly = options.has("ro");
  if (readOnly && options.has("rw")) throw invalid(`${flag} is both ro and rw`);
  const isFolder = /^[./~]/.test(source);
  refuseOthers(options, isFolder ? ["ro", "rw", "uid", "gid"] : ["ro", "rw", "dirsync"], flag);
  const base = { target, ...(readOnly && { readOnly }) };
  if (!isFolder) {
    const dirSync = options.has("dirsync");
    if (dirSync && readOnly) throw invalid(`${flag} is both ro and dirsync`);
    return { type: "volume", name: source, ...base, ...(dirSync && { dirSync }) };
  }
  const uid = options.get("uid");
  const gid = options.get("gid");
  return {
    type: "folder",
    // The daemon knows neither this folder nor this home.
    source: resolve(homePath(source)),
    ...base,
    ...(uid !== undefined && { uid: number(uid, 10, flag) }),
    ...(gid !== undefined && { gid: number(gid, 10, flag) }),
  };
}

/** `/target[:size=SIZE,mode=OCTAL]` */
export function parseTmpfs(text: string): MountInput {
  const flag = `--tmpfs: "${text}"`;
  const { path: target, options } = splitOptions(text, flag);
  refuseOthers(options, ["size", "mode"], flag);
  const size = options.get("size");
  const mode = options.get("mode");
  return {
    type: "tmpfs",
    target,
    ...(size !== undefined && { sizeMiB: mebibytes(size, flag) }),
    ...(mode !== undefined && { mode: number(mode, 8, flag) }),
  };
}

/** A slash at the end says nothing more, and people write it. */
function splitOptions(text: string, flag: string): { path: string; options: Map<string, string> } {
  const [path = "", list, ...more] = text.split(":");
  if (more.length > 0) throw invalid(`${flag} has more than one list of options`);
  const options = new Map<string, string>();
  for (const option of list?.split(",") ?? []) {
    const [name = "", value = ""] = option.split("=", 2);
    if (options.has(name)) throw invalid(`${flag} says '${name}' twice`);
    options.set(name, value);
  }
  return { path: path.replace(/(?<=[^/])\/+$/, ""), options };
}

function refuseOthers(options: Map<string, string>, known: string[], flag: string): void {
  for (const name of options.keys()) {
    if (!known.includes(name))
      throw invalid(`${flag} has no option '${name}'`, `options: ${known.join(", ")}`);
  }
}

function number(text: string, base: 8 | 10, flag: string): number {
  const digits = base === 8 ? /^[0-7]{1,5}$/ : /^\d{1,10}$/;
  if (!digits.test(text)) throw invalid(`${flag}: '${text}' is no ${base === 8 ? "octal mode" : "number"}`);
  return Number.parseInt(text, base);
}

function mebibytes(text: string, flag: string): number {
  try {
    return parseMebibytes(text);
  } catch (error) {
    throw invalid(`${flag}: ${(error as Error).message}`);
  }
}

function invalid(message: string, hint?: string): SandboxError {
  return new SandboxError("invalid_argument", message, { hint });
}
