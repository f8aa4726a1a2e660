import { SandboxError } from "../../contract/errors.ts";
import { type ByteString, show } from "../../tar/index.ts";

/** Linux's PATH_MAX; nothing could name a longer one. */
const MAX_PATH_BYTES = 4095;

/**
 * The names that an entry's path goes through, from the folder that it is unpacked in: without `.`, with the path's first name
 * replaced by `name`, if one is given. Whoever wrote the archive may be hostile: a path that leads up, or that is not the source's, is refused.
 *
 * @param top first name of all paths of the archive; undefined: they are taken from where they are
 */
export function entryNames(
  path: ByteString,
  top: ByteString | undefined,
  name: ByteString | undefined,
): ByteString[] {
  const names = path.split("/").filter((part) => part !== "" && part !== ".");
  if (path.length > MAX_PATH_BYTES || names.includes("..") || path.includes("\0"))
    throw refused(path, "is no path of a tree");
  if (top !== undefined && names.shift() !== top) throw refused(path, `is not of ${show(top)}`);
  return name === undefined ? names : [name, ...names];
}

function refused(path: ByteString, why: string): SandboxError {
  return new SandboxError("invalid_argument", `the archive is refused: ${show(path)} ${why}`, {
    hint: "What wrote it is at fault, or means harm.",
  });
}
