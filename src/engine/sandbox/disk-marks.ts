import { lstat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { SandboxContext } from "./context.ts";
import { overlaysOf, writableDirectoryOf } from "./disks.ts";
import { directoryOf } from "./launch-vm.ts";
import { volumesOf } from "./mounts.ts";
import type { SandboxRecord } from "./record.ts";
import { readerOverlay } from "./volume-disks.ts";

/**
 * What tells whether anything was written to a sandbox's disks: a line for each of size and time of the last write. Memory that is loaded
 * again must find them as its kernel left them, or that kernel writes over what it does not know of.
 */
export async function disksAsTheyAre(
  context: SandboxContext,
  { id, spec }: Pick<SandboxRecord, "id" | "spec">,
): Promise<string[]> {
  const directory = directoryOf(context, id);
  const overlays = (await overlaysOf(directory)).map(({ file }) => ({ name: basename(file), file }));
  const volumes = await Promise.all(
    volumesOf(spec.mounts).map(async ({ name, readOnly }, slot) => {
      const overlay = readerOverlay(slot);
      if (readOnly) return { name: overlay, file: join(writableDirectoryOf(directory), overlay) };
      return { name: `volume ${name}`, file: (await context.volumes.get(name)).file };
    }),
  );
  return Promise.all(
    [...overlays, ...volumes].map(async ({ name, file }) => {
      const { size, mtimeNs } = await lstat(file, { bigint: true });
      return `${name}: ${size} bytes, ${mtimeNs}`;
    }),
  );
}
