import { SandboxError } from "../../contract/index.ts";
import type { StateManifest } from "../state/index.ts";
import { volumesOf } from "./mounts.ts";
import { readStoredSandbox, type StoredSandbox } from "./stored-sandbox.ts";

/**
 * What a snapshot from elsewhere may say of its sandbox. Whoever restores it has not chosen its mounts: a stranger's would have a folder or
 * a volume of this host handed to a VM whose every byte is the stranger's.
 *
 * @throws `invalid_argument` if it says nothing that can be read, `unsupported` naming what it would have of this host
 */
export function admitImported({ record, files }: Pick<StateManifest, "record" | "files">): void {
  const { spec } = read(record);
  const folder = spec.mounts.find((mount) => mount.type === "folder");
  if (folder !== undefined) {
    throw new SandboxError(
      "unsupported",
      `the snapshot has '${folder.source}' of the host that it was made on mounted at '${folder.target}'`,
      {
        hint: "No snapshot from elsewhere may choose a folder of this host. Store one of a sandbox that has none mounted.",
        details: { source: folder.source, target: folder.target },
      },
    );
  }
  const inside = new Set(files.map(({ path }) => path));
  const missing = volumesOf(spec.mounts).find((_, slot) => !inside.has(`volumes/${slot}`));
  if (missing === undefined) return;
  throw new SandboxError("unsupported", `the snapshot uses volume '${missing.name}', which is not in it`, {
    hint: "Store it with a copy of its volumes: msb snapshot create --volumes copy",
    details: { volume: missing.name },
  });
}

function read(record: unknown): StoredSandbox["sandbox"] {
  try {
    return readStoredSandbox(record).sandbox;
  } catch (cause) {
    throw new SandboxError(
      "invalid_argument",
      "the archive is no snapshot of this Microsandbox: what it says of its sandbox cannot be read",
      { hint: "It may be of another version, or not what 'msb snapshot export' wrote.", cause },
    );
  }
}
