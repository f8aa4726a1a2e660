/** Which files of a tree the sources of a COPY mean. */

import {
  type ByteString,
  fromBytes,
  type ImageTree,
  type Inode,
  isDirectory,
  toBytes,
} from "../../image/index.ts";
import type { Word } from "../dockerfile/logical-text.ts";
import { wrong } from "../dockerfile/position.ts";
import { isPattern, nameMatcher } from "../glob.ts";

/** A file or directory that is to be copied. */
export interface Match {
  /** Its last name; "" for the root. */
  name: ByteString;
  /** Where it stands in its tree. */
  path: ByteString;
  inode: Inode;
}

export interface SourceTree {
  tree: ImageTree;
  /** What it is, as errors say it: `the context`. */
  what: string;
  /** What `.dockerignore` leaves out, by path. */
  ignores(path: string): boolean;
}

/**
 * A link that is named is followed, within the tree; `..` does not leave it.
 * @throws `invalid_argument` with the place if there is nothing, or the pattern is malformed
 */
export function matchSource({ tree, what, ignores }: SourceTree, source: Word): Match[] {
  const path = clean(source.text);
  const matches = isPattern(path) ? glob(tree, path, source) : [fromBytes(Buffer.from(path))];
  const found = matches.flatMap((match): Match[] => {
    if (match !== "" && ignores(text(match))) return [];
    const at = tree.lookup(match);
    if (at === undefined || ignoresAll(at.path, ignores)) return [];
    return [{ name: match.slice(match.lastIndexOf("/") + 1), path: at.path, inode: at.inode }];
  });
  if (found.length > 0) return found;
  throw wrong(
    source.at,
    `${JSON.stringify(source.text)} is not in ${what}`,
    "Paths are relative to its root; .dockerignore may leave it out.",
  );
}

const text = (path: ByteString) => toBytes(path).toString("utf8");
const ignoresAll = (path: ByteString, ignores: SourceTree["ignores"]) => path !== "" && ignores(text(path));

function clean(path: string): string {
  const names: string[] = [];
  for (const name of path.split("/")) {
    if (name === "..") names.pop();
    else if (name !== "" && name !== ".") names.push(name);
  }
  return names.join("/");
}

/** The paths that a pattern matches, in order. */
function glob(tree: ImageTree, pattern: string, source: Word): ByteString[] {
  let paths: ByteString[] = [""];
  for (const part of pattern.split("/")) {
    const matches = nameMatcher(part);
    if (matches === undefined) throw wrong(source.at, `the pattern ${JSON.stringify(part)} is malformed`);
    paths = paths.flatMap((path) => {
      const inode = tree.lookup(path)?.inode;
      if (inode === undefined || !isDirectory(inode)) return [];
      const names = [...inode.children.keys()].filter((name) => matches(text(name))).sort();
      return names.map((name) => (path === "" ? name : `${path}/${name}`));
    });
  }
  return paths;
}
