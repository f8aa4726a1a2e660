/** Which files of a tree the sources of a COPY mean. */

import { type ByteString, fromBytes, toBytes } from "../../../tar/index.ts";
import { type ImageTree, type Inode, isDirectory } from "../../image/index.ts";
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
  /** Whether something below an ignored directory may be there all the same. */
  mayContainException(path: string): boolean;
}

/**
 * A link that is named is followed, within the tree; `..` does not leave it. A pattern may match nothing.
 * @throws `invalid_argument` with the place if a name is not there, or a pattern is malformed
 */
export function matchSource(from: SourceTree, source: Word): Match[] {
  const path = clean(source.text);
  if (isPattern(path)) {
    return glob(from.tree, path, source).flatMap((match) => find(from, match) ?? []);
  }
  const found = find(from, fromBytes(Buffer.from(path)));
  if (found !== undefined) return [found];
  throw wrong(
    source.at,
    `${JSON.stringify(source.text)} is not in ${from.what}`,
    "Paths are relative to its root; .dockerignore may leave it out.",
  );
}

function find(from: SourceTree, path: ByteString): Match | undefined {
  const at = from.tree.lookup(path);
  if (at === undefined) return undefined;
  const named: Match = { name: path.slice(path.lastIndexOf("/") + 1), path: at.path, inode: at.inode };
  // The link and what it leads to must both be there.
  return isThere(from, path, at.inode) && isThere(from, at.path, at.inode) ? named : undefined;
}

/** A directory that is ignored is there if an exception holds for something in it. */
function isThere(from: SourceTree, path: ByteString, inode: Inode): boolean {
  if (path === "" || !from.ignores(text(path))) return true;
  const pending: [ByteString, Inode][] = [[path, inode]];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [at, directory] = next;
    if (!isDirectory(directory) || !from.mayContainException(text(at))) continue;
    for (const [name, child] of directory.children) {
      if (!from.ignores(text(`${at}/${name}`))) return true;
      pending.push([`${at}/${name}`, child]);
    }
  }
  return false;
}

const text = (path: ByteString) => toBytes(path).toString("utf8");

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
