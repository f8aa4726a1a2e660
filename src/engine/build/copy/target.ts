/** Where a copy goes: what the image has, and what the new layer has made of it so far. */

import { type ByteString, show } from "../../../tar/index.ts";
import { type Directory, type ImageTree, type Inode, isDirectory } from "../../image/index.ts";
import { type Position, wrong } from "../dockerfile/position.ts";

/** A directory of the target. */
export interface Place {
  /** Real path below the root. */
  path: ByteString;
  /** What the image has there. */
  there: Directory | undefined;
  /** Whether a link of the image has led there. */
  linked: boolean;
}

export class Target {
  readonly #image: ImageTree;
  readonly #at: Position;
  /** Directories that the layer has made. */
  readonly #made = new Set<ByteString>();

  constructor(image: ImageTree, at: Position) {
    this.#image = image;
    this.#at = at;
  }

  /** Where a path really is in the image: through its links, as far as they lead to something. */
  real(path: ByteString): ByteString {
    const names = path.split("/").filter((name) => name !== "" && name !== ".");
    for (let known = names.length; known > 0; known--) {
      const found = this.#image.lookup(names.slice(0, known).join("/"));
      if (found !== undefined) return names.slice(known).reduce(join, found.path);
    }
    return names.join("/");
  }

  isDirectory(path: ByteString): boolean {
    if (this.#made.has(path)) return true;
    const found = this.#image.lookup(path);
    return found !== undefined && isDirectory(found.inode);
  }

  /** @param path a real one */
  place(path: ByteString): Place {
    const there = this.#image.lookup(path)?.inode;
    return { path, there: there !== undefined && isDirectory(there) ? there : undefined, linked: false };
  }

  /** A directory in another one. Errors: `invalid_argument` if the image has something else there. */
  within(parent: Place, name: ByteString): Place {
    const path = join(parent.path, name);
    const there = parent.there?.children.get(name);
    if (there === undefined || isDirectory(there)) return { path, there, linked: false };
    const found = there.type === "symlink" ? this.#image.lookup(path) : undefined;
    if (found === undefined || !isDirectory(found.inode)) {
      throw this.#refuse(path, "a directory would take the place of a file");
    }
    return { path: found.path, there: found.inode, linked: true };
  }

  /** What is missing of a directory and those above it, the highest first. Errors: `invalid_argument` if a file is in the way. */
  missing(path: ByteString): ByteString[] {
    const missing: ByteString[] = [];
    for (let at = path; at !== "" && !this.isDirectory(at); at = parentOf(at)) missing.unshift(at);
    for (const at of missing) {
      if (this.#image.lookup(at, { last: "nofollow" }) !== undefined) {
        throw this.#refuse(at, "a directory would take the place of a file");
      }
    }
    return missing;
  }

  made(path: ByteString): void {
    this.#made.add(path);
  }

  /** A link is replaced, wherever it leads. Errors: `invalid_argument` if a directory stands there. */
  checkFile(path: ByteString, there: Inode | undefined): void {
    if (this.#made.has(path) || (there !== undefined && isDirectory(there))) {
      throw this.#refuse(path, "a file would take the place of a directory");
    }
  }

  /** What the image has at a path itself, be it a link. */
  at(path: ByteString): Inode | undefined {
    return this.#image.lookup(path, { last: "nofollow" })?.inode;
  }

  #refuse(path: ByteString, reason: string) {
    return wrong(this.#at, `${show(path)} cannot be copied to: ${reason}`);
  }
}

export function parentOf(path: ByteString): ByteString {
  return path.slice(0, Math.max(path.lastIndexOf("/"), 0));
}

export function join(directory: ByteString, name: ByteString): ByteString {
  return directory === "" ? name : name === "" ? directory : `${directory}/${name}`;
}
