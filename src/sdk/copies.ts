import { posix } from "node:path";
import type { CopyOptions } from "./copy/copy.ts";
import type { Files } from "./files.ts";

/** Files and folders of this machine that a new sandbox is to have before its first process. */

export interface Copy extends Pick<CopyOptions, "archive" | "follow"> {
  /** Path of a file or a folder of this machine. */
  from: string;
  /** Where it goes, by the rules of {@link Files.upload}; folders that are missing on the way there are made. */
  to: string;
}

/** Copies one after the other. */
export async function copyAll(
  files: Files,
  copies: readonly Copy[],
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const { from, to, ...options } of copies) {
    await files.mkdir(to.endsWith("/") ? to : posix.dirname(to), { parents: true, signal });
    await files.upload(from, to, { ...options, signal });
  }
}
