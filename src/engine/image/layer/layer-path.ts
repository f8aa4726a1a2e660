/**
 * What a path in a layer means: cleaned names below the root, and the marks by which a layer hides what lies
 * below it (OCI image-spec, layer.md, "Whiteouts").
 */

import { SandboxError } from "../../../contract/errors.ts";
import { type ByteString, show } from "../../../tar/index.ts";
import { MAX_NAME_BYTES, MAX_PATH_BYTES } from "../limits.ts";

/**
 * The path below the root, without `.`, empty and `..` components; "" is the root itself. `..` is taken by the
 * letter and never leaves the root, as chroot does it: `/../../etc` is `etc`.
 *
 * Errors: `invalid_argument` for a NUL, a name over 255 bytes, a path over 4095 bytes.
 */
export function cleanPath(path: ByteString): ByteString {
  if (path.length > MAX_PATH_BYTES) throw refuse(path, `its path is longer than ${MAX_PATH_BYTES} bytes`);
  if (path.includes("\0")) throw refuse(path, "its path holds a NUL byte");
  const names: ByteString[] = [];
  for (const name of path.split("/")) {
    if (name === "" || name === ".") continue;
    if (name === "..") {
      names.pop();
      continue;
    }
    if (name.length > MAX_NAME_BYTES)
      throw refuse(path, `a name in it is longer than ${MAX_NAME_BYTES} bytes`);
    names.push(name);
  }
  return names.join("/");
}

/** What a cleaned path stands for. */
export type PathMeaning =
  | { kind: "entry" }
  /** Hides `path` in the layers below. */
  | { kind: "whiteout"; path: ByteString }
  /** Hides all that the layers below have in the directory `path`. */
  | { kind: "opaque"; path: ByteString }
  /** A note of AUFS to itself (`.wh..wh.plnk` and the like), no part of the image. */
  | { kind: "ignored" };

const PREFIX = ".wh.";
const AUFS_PREFIX = ".wh..wh.";
const OPAQUE = ".wh..wh..opq";

export function pathMeaning(path: ByteString): PathMeaning {
  const slash = path.lastIndexOf("/");
  const name = path.slice(slash + 1);
  if (!name.startsWith(PREFIX)) {
    // Below a directory with AUFS's mark nothing is part of the image either.
    return path.includes(AUFS_PREFIX) && /(^|\/)\.wh\.\.wh\./.test(path)
      ? { kind: "ignored" }
      : { kind: "entry" };
  }
  const parent = slash === -1 ? "" : path.slice(0, slash);
  if (name === OPAQUE) return { kind: "opaque", path: parent };
  if (name.startsWith(AUFS_PREFIX)) return { kind: "ignored" };
  const hidden = name.slice(PREFIX.length);
  if (hidden === "" || hidden === "." || hidden === "..") throw refuse(path, "it hides no name");
  return { kind: "whiteout", path: parent === "" ? hidden : `${parent}/${hidden}` };
}

/** `invalid_argument` naming the entry. */
export function refuse(path: ByteString, reason: string): SandboxError {
  return new SandboxError("invalid_argument", `entry ${show(path)} cannot be part of an image: ${reason}`);
}
