import { SandboxError } from "../../contract/errors.ts";

/**
 * Where a copy ends up: the rules of `docker cp`, which are those of `cp -r` without its surprises.
 *
 * | source          | destination            | result                                   |
 * | --------------- | ---------------------- | ---------------------------------------- |
 * | file            | nothing                | the file, under that name                |
 * | file            | nothing, ends in `/`   | error: there is no such folder           |
 * | file            | file                   | replaced                                 |
 * | file            | folder                 | in it, under the source's name           |
 * | folder          | nothing                | made, with what is in the source         |
 * | folder          | file                   | error: no folder replaces a file         |
 * | folder          | folder                 | in it, under the source's name           |
 * | folder as `x/.` | folder                 | what is in the source is added to it     |
 *
 * The folder that a destination is in has to exist. A link is whatever it leads to as a destination, and itself as a source.
 */
export interface CopyEnd {
  path: string;
  /** What is there. */
  is: "file" | "folder" | "nothing";
}

export interface Placement {
  /** Folder that is there, to put things in. */
  folder: string;
  /** Name that the source gets in it; undefined: what is in the source goes there. */
  name: string | undefined;
}

/** Whether a path stands for what is in a folder, rather than the folder: `x/.`, `.`. */
export function meansContents(path: string): boolean {
  return path === "." || path.endsWith("/.");
}

/** @throws SandboxError `not_found`, `invalid_argument`: what cannot be */
export function placementOf(source: CopyEnd, destination: CopyEnd): Placement {
  if (source.is === "folder" && destination.is === "file") {
    throw new SandboxError(
      "invalid_argument",
      `'${destination.path}' is a file: a folder cannot be copied to it`,
    );
  }
  if (destination.is === "folder") {
    const contents = source.is === "folder" && meansContents(source.path);
    return { folder: destination.path, name: contents ? undefined : nameOf(source.path) };
  }
  if (source.is === "file" && destination.path.endsWith("/")) {
    throw new SandboxError("not_found", `there is no folder '${destination.path}' to copy to`, {
      hint: "Make it first, or leave the slash out to give the copy that name.",
    });
  }
  const path = destination.path.replace(/\/+$/, "");
  const slash = path.lastIndexOf("/");
  return { folder: slash === -1 ? "." : path.slice(0, slash) || "/", name: path.slice(slash + 1) };
}

/** The last name of a path; of `/`, `.` and `..` there is none, and what is in them is meant. */
export function nameOf(path: string): string | undefined {
  const name = path.split("/").findLast((part) => part !== "" && part !== ".");
  return name === ".." ? undefined : name;
}
