import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { SandboxError, type ShownSandboxSpec, volumeName } from "../../contract/index.ts";
import { diskLevels, type StoredState } from "../state/index.ts";
import type { SandboxContext } from "./context.ts";
import { writableDirectoryOf } from "./disks.ts";
import { volumesOf } from "./mounts.ts";
import { copyOverlay, readerOverlay, volumeRole } from "./volume-disks.ts";

/** The named volumes of a sandbox whose state is stored, and of those that begin with it. */

/**
 * Which volumes are to be copied with a state: all that the sandbox has, or none.
 * @throws `invalid_state` if it has some whose contents would be another's, and nobody asked for copies
 */
export function slotsToCopy(
  { name, spec }: { name: string; spec: ShownSandboxSpec },
  volumes: "refuse" | "copy",
  { sharesReadOnly }: { sharesReadOnly: boolean },
): number[] {
  const mounts = volumesOf(spec.mounts);
  if (volumes === "copy") return mounts.map((_, slot) => slot);
  const held = mounts.filter(({ readOnly }) => !readOnly || !sharesReadOnly);
  if (held.length === 0) return [];
  throw new SandboxError(
    "invalid_state",
    `sandbox '${name}' has the volume '${held[0]!.name}', which another sandbox would find changed`,
    {
      hint: "To give each its own copy: --volumes copy",
      details: { volumes: held.map((mount) => mount.name) },
    },
  );
}

/** The volumes that those who begin with it read beside it. @param copied slots of those that each has for itself */
export function slotsToShare({ spec }: { spec: ShownSandboxSpec }, copied: readonly number[]): number[] {
  return volumesOf(spec.mounts).flatMap(({ readOnly }, slot) =>
    readOnly && !copied.includes(slot) ? [slot] : [],
  );
}

/**
 * The specs of sandboxes that begin with a state: each with volumes of its own, made of the copies that the state has.
 * @returns `discard` removes what was made
 */
export async function inheritVolumes(
  context: SandboxContext,
  stored: StoredState,
  spec: ShownSandboxSpec,
  names: readonly string[],
  { signal }: { signal?: AbortSignal | undefined },
): Promise<{ specs: ShownSandboxSpec[]; discard(): Promise<void> }> {
  const copied = new Set(
    stored.manifest.files.flatMap(({ path }) => /^volumes\/(\d+)$/.exec(path)?.[1] ?? []).map(Number),
  );
  const made: string[] = [];
  const discard = async () => {
    for (const volume of made) await context.volumes.remove(volume).catch(() => {});
  };
  const specs: ShownSandboxSpec[] = [];
  try {
    for (const name of names) {
      let slot = -1;
      const mounts: ShownSandboxSpec["mounts"] = [];
      for (const mount of spec.mounts) {
        if (mount.type !== "volume" || !copied.has(++slot)) {
          mounts.push(mount);
          continue;
        }
        const volume = volumeOf(mount.name, name);
        const copy = join(stored.directory, "volumes", String(slot));
        await context.volumes.createFrom(volume, copy, { signal });
        made.push(volume);
        context.events.add({ type: "volume.created", message: volume });
        mounts.push({ ...mount, name: volume });
      }
      specs.push({ ...spec, mounts });
    }
    return { specs, discard };
  } catch (error) {
    await discard();
    throw error;
  }
}

/** What the state's guest had written over the volumes that it only read, for the sandbox in this folder, which has them mounted too. */
export async function inheritOverlays(
  directory: string,
  { directory: state, manifest }: StoredState,
  { mounts }: ShownSandboxSpec,
): Promise<void> {
  const stored = diskLevels(manifest.files);
  const slots = volumesOf(mounts).flatMap((_, slot) => (stored.has(volumeRole(slot)) ? [slot] : []));
  const writable = writableDirectoryOf(directory);
  await Promise.all(
    slots.map((slot) =>
      copyOverlay(join(state, "disks", volumeRole(slot), "0"), join(writable, readerOverlay(slot))),
    ),
  );
}

/** What a sandbox's own copy of a volume is called: `data-box`; where that is too long, a random end in place of the sandbox's name. */
function volumeOf(volume: string, sandbox: string): string {
  const name = `${volume}-${sandbox}`;
  return volumeName.safeParse(name).success
    ? name
    : `${volume.slice(0, 50)}-${randomBytes(4).toString("hex")}`;
}
