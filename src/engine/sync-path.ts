import { open } from "node:fs/promises";

/** Has a file's bytes, or a folder's names, on disk when it returns. */
export async function syncPath(path: string): Promise<void> {
  await using file = await open(path, "r");
  await file.sync();
}
