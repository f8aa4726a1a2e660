import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import { SandboxError } from "../contract/errors.ts";
import { MAX_INLINE_BYTES } from "../contract/inline-file-bounds.ts";
import type { InlineFileInput } from "../sdk/index.ts";

/** `--file`, for `run` and `create`: files that are put into a sandbox before its first process. */

export interface InlineFileFlags {
  file?: string[];
}

const LARGER = "mount the folder that it is in, or write it once the sandbox runs";

const collect = (value: string, before: string[] = []) => [...before, value];

export function addInlineFileFlags(command: Command): Command {
  return command.option(
    "--file <PATH=TEXT>",
    "put a file into the sandbox before its first process; PATH=@FILE takes what is in a file of this host (repeatable)",
    collect,
  );
}

export function inlineFilesOf({ file = [] }: InlineFileFlags): InlineFileInput[] {
  const files = file.map(parseFile);
  const bytes = files.reduce(
    (sum, { text = "", base64 = "" }) => sum + Buffer.byteLength(text) + Buffer.byteLength(base64, "base64"),
    0,
  );
  // The daemon would not even read the message.
  if (bytes > MAX_INLINE_BYTES) {
    throw invalid(`--file: ${bytes} bytes in all, ${MAX_INLINE_BYTES} are allowed`, LARGER);
  }
  return files;
}

/** `/path=text` or `/path=@file`; `@@` stands for a text that begins with `@`. */
export function parseFile(text: string): InlineFileInput {
  const flag = `--file: "${text.length > 80 ? `${text.slice(0, 80)}…` : text}"`;
  const at = text.indexOf("=");
  if (at <= 0)
    throw invalid(`${flag} is not of the form /path=text`, "or /path=@FILE, for what is in a file");
  const path = text.slice(0, at);
  if (!path.startsWith("/")) throw invalid(`${flag}: '${path}' is not an absolute path in the sandbox`);
  const value = text.slice(at + 1);
  if (value.startsWith("@@")) return { path, text: value.slice(1) };
  if (!value.startsWith("@")) return { path, text: value };
  const { bytes, mode } = read(value.slice(1), flag);
  return { path, base64: bytes.toString("base64"), mode };
}

/** A program stays one that can be executed. */
function read(name: string, flag: string): { bytes: Buffer; mode: number } {
  const source = resolve(name);
  const stat = statSync(source, { throwIfNoEntry: false });
  if (stat === undefined) throw new SandboxError("not_found", `${flag}: there is no file '${source}'`);
  if (!stat.isFile()) throw invalid(`${flag}: '${source}' is no file`, "mount a folder: --volume ./src:/srv");
  if (stat.size > MAX_INLINE_BYTES) {
    throw invalid(`${flag}: '${source}' has ${stat.size} bytes, ${MAX_INLINE_BYTES} are allowed`, LARGER);
  }
  try {
    return { bytes: readFileSync(source), mode: stat.mode & 0o111 ? 0o755 : 0o644 };
  } catch (cause) {
    throw new SandboxError("permission_denied", `${flag}: '${source}' cannot be read`, { cause });
  }
}

function invalid(message: string, hint?: string): SandboxError {
  return new SandboxError("invalid_argument", message, { hint });
}
