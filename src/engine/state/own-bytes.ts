import { stat } from "node:fs/promises";
import { join } from "node:path";
import { DISKS, deltaName, STATE_FILE, VOLUMES } from "./layout.ts";
import { diskLevels, type StateManifest } from "./manifest.ts";

/**
 * Which of the files are the state's own, not shared with what it came from: device state, last level of memory, topmost file of each
 * disk, volumes. Of one that came out of an archive all are.
 */
export function ownFiles(files: readonly { path: string }[], levels: number): Set<string> {
  const last = deltaName(levels - 1);
  const tops = [...diskLevels(files)].map(([role, count]) => `${DISKS}/${role}/${count - 1}`);
  const own = new Set([STATE_FILE, last.runs, last.pages, ...tops]);
  return new Set(
    files.map(({ path }) => path).filter((path) => own.has(path) || path.startsWith(`${VOLUMES}/`)),
  );
}

/** The space on disk of these files, by what they hold. */
export async function bytesOnDisk(
  directory: string,
  paths: Iterable<string>,
): Promise<StateManifest["bytes"]> {
  const bytes = { memory: 0, disks: 0, volumes: 0 };
  for (const path of paths) {
    const { blocks } = await stat(join(directory, path));
    const kind = path.startsWith(`${DISKS}/`)
      ? "disks"
      : path.startsWith(`${VOLUMES}/`)
        ? "volumes"
        : "memory";
    bytes[kind] += blocks * 512;
  }
  return bytes;
}
