import { homedir } from "node:os";
import { join } from "node:path";

/** A path of this machine, with the home folder in place of a `~` in front: within `--flag=~/x` no shell does it. */
export function homePath(path: string): string {
  return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
}
