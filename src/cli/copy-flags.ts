import { existsSync } from "node:fs";
import type { Command } from "commander";
import { SandboxError } from "../contract/errors.ts";
import type { Sandbox } from "../sdk/index.ts";
import { homePath } from "./home-path.ts";

/** `--copy` of `create`: files and folders of this machine that are there before the sandbox's first process. */

export interface CopyFlags {
  copy?: string[];
}

export interface Copy {
  from: string;
  to: string;
}

const collect = (value: string, before: string[] = []) => [...before, value];

export function addCopyFlags(command: Command): Command {
  return command.option(
    "--copy <SRC:DST>",
    "copy a file or a folder of this machine into the sandbox, as msb cp does; not with a COMMAND (repeatable)",
    collect,
  );
}

/**
 * The copies that the flags ask for.
 *
 * @throws `invalid_argument`, and `not_found` for a source that is not there: before anything is made
 */
export function copiesOf({ copy = [] }: CopyFlags, command: readonly string[]): Copy[] {
  if (copy.length > 0 && command.length > 0) {
    throw new SandboxError("invalid_argument", "--copy: the command would begin before its files are there", {
      hint: "create it without a command, and start that with msb exec; or take --volume or --file",
    });
  }
  return copy.map(parseCopy);
}

/** `SRC:/dst`. The destination is where the last `:/` stands: a name here may hold colons. */
export function parseCopy(text: string): Copy {
  const at = text.lastIndexOf(":/");
  if (at <= 0) {
    throw new SandboxError("invalid_argument", `--copy: "${text}" is not of the form SRC:/path`, {
      hint: "for example --copy ./src:/srv",
    });
  }
  const from = homePath(text.slice(0, at));
  if (!existsSync(from)) throw new SandboxError("not_found", `--copy: there is no '${from}'`);
  return { from, to: text.slice(at + 1) };
}

/** Copies one after the other. A sandbox that lacks some of what it was to have is removed. */
export async function copyInto(sandbox: Sandbox, copies: Copy[], signal: AbortSignal): Promise<void> {
  try {
    for (const { from, to } of copies) await sandbox.files.upload(from, to, { signal });
  } catch (error) {
    await sandbox.remove({ force: true });
    throw error;
  }
}
