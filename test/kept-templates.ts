import { execFile } from "node:child_process";
import { mkdir, readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

/**
 * Templates that one test's home leaves to the next ones: building one takes longer than most tests. Each daemon verifies them as its own.
 * They are linked, so who changes one in its place changes it for all: such a test has a home with templates of its own.
 */

const FOLDER = "templates";

/** Gives a home those that there are. @param homes the folder of all homes */
export async function takeTemplates(homes: string, home: string): Promise<void> {
  const kept = keptIn(homes);
  const keys = await wholeOnes(kept);
  if (keys.length === 0) return;
  await mkdir(join(home, FOLDER), { recursive: true, mode: 0o711 });
  const from = keys.map((key) => join(kept, key));
  await promisify(execFile)("cp", ["-al", ...from, join(home, FOLDER)]);
}

/** Takes from a home whose daemon has ended those that the others do not have. */
export async function keepTemplates(homes: string, home: string): Promise<void> {
  const kept = keptIn(homes);
  await mkdir(kept, { recursive: true, mode: 0o711 });
  const known = await wholeOnes(kept);
  // Another home may leave the same one at this moment.
  for (const key of await wholeOnes(join(home, FOLDER)))
    if (!known.includes(key)) await rename(join(home, FOLDER, key), join(kept, key)).catch(() => {});
}

/** No home: what cleans up after killed tests goes through those. */
function keptIn(homes: string): string {
  return join(homes, ".templates");
}

async function wholeOnes(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => /^[0-9a-f]{32}$/.test(name));
}
