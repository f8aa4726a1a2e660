import { existsSync } from "node:fs";
import type { Command } from "commander";
import { SandboxError } from "../contract/errors.ts";
import type { Copy } from "../sdk/index.ts";
import { homePath } from "./home-path.ts";

/** `--copy`: files and folders of this machine that are there before the sandbox's first process. */

export interface CopyFlags {
  copy?: string[];
}

const collect = (value: string, before: string[] = []) => [...before, value];

export function addCopyFlags(command: Command): Command {
  return command.option(
    "--copy <SRC:DST>",
    "copy a file or a folder of this machine into the sandbox, as msb cp does, before its command begins (repeatable)",
    collect,
  );
}

/**
 * `SRC:/dst`. The destination is where the last `:/` stands: a name here may hold colons.
 *
 * @throws `invalid_argument`, and `not_found` for a source that is not there: before anything is made
 */
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
