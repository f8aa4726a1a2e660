import { isDeepStrictEqual } from "node:util";
import {
  DEFAULT_CPUS,
  DEFAULT_DISK_MIB,
  DEFAULT_MEMORY_MIB,
  type RestoreChanges,
  SandboxError,
  type SandboxInfo,
  type SandboxSpec,
  type SnapshotInfo,
  sandboxSpec,
  snapshotName,
} from "../contract/index.ts";
import type { Engine, OperationContext } from "../engine/index.ts";

/** Prepared images: snapshots that were made to be used as an image is. A spec that names one as its image is restored from it. */

/** The prepared snapshot of this name, which goes before an image that has it. Undefined if there is none. */
export async function preparedImage(engine: Engine, image: string): Promise<SnapshotInfo | undefined> {
  // Nearly every image's name has a `/`, a `:` or a `.` in it, and costs nothing here.
  if (!snapshotName.safeParse(image).success) return undefined;
  try {
    const snapshot = await engine.snapshots.get(image);
    return snapshot.name === image && snapshot.prepared !== undefined ? snapshot : undefined;
  } catch (error) {
    if (SandboxError.from(error).code === "not_found") return undefined;
    throw error;
  }
}

/**
 * Creates a sandbox of an image or of a prepared one.
 *
 * @throws what `sandboxes.create` does; of a prepared image `invalid_argument`, naming the field, for what is fixed in it
 */
export async function createSandbox(
  engine: Engine,
  spec: SandboxSpec,
  context: OperationContext = {},
  { held = false }: { held?: boolean } = {},
): Promise<SandboxInfo> {
  const snapshot = await preparedImage(engine, spec.image);
  if (snapshot === undefined) return engine.sandboxes.create(spec, context, { held });
  const changes = changesOf(spec, snapshot);
  const { name, command } = spec;
  if (held && command !== undefined)
    throw fixed(
      snapshot,
      "copies",
      "has no command that could wait for files to be copied",
      "Copy them afterwards, with msb cp.",
    );
  const request = { count: 1, changes, ...(name !== undefined && { name }) };
  const [made] = await engine.snapshots.restore(snapshot.id, request, context);
  if (made === undefined) throw new SandboxError("internal", `nothing was restored from '${snapshot.name}'`);
  if (command === undefined) return made;
  try {
    const argv = engine.sandboxes.commandOf(made.id, command);
    const process = await engine.sandboxes.exec(made.id, { argv, env: {} }, { ...context, main: true });
    process.detach();
    return engine.sandboxes.get(made.id);
  } catch (error) {
    await engine.sandboxes.remove(made.id, { force: true }).catch(() => {});
    throw error;
  }
}

/** What a spec asks for that can differ from what was stored. What has its default is taken for not asked for. */
function changesOf(spec: SandboxSpec, snapshot: SnapshotInfo): RestoreChanges {
  const plain = sandboxSpec.parse({ image: spec.image });
  const sizes = [
    ["cpus", DEFAULT_CPUS],
    ["memoryMiB", DEFAULT_MEMORY_MIB],
    ["diskMiB", DEFAULT_DISK_MIB],
  ] as const;
  for (const [field, usual] of sizes) {
    if (spec[field] === usual || spec[field] === snapshot[field]) continue;
    throw fixed(snapshot, field, `was stored with ${snapshot[field]}, not ${spec[field]}`);
  }
  for (const field of [
    "diskIops",
    "diskBytesPerSecond",
    "platform",
    "shell",
    "entrypoint",
    "mounts",
    "files",
    "pull",
  ] as const) {
    if (!isDeepStrictEqual(spec[field], plain[field])) throw fixed(snapshot, field, "has its own");
  }
  const { env, labels, autoRemove, workdir, user, maxDurationMs, idleTimeoutMs, onIdle, network } = spec;
  return {
    env,
    labels,
    autoRemove,
    ...(workdir !== undefined && { workdir }),
    ...(user !== undefined && { user }),
    ...(maxDurationMs !== undefined && { maxDurationMs }),
    ...(idleTimeoutMs !== undefined && { idleTimeoutMs, onIdle }),
    ...(!isDeepStrictEqual(network, plain.network) && { network }),
  };
}

function fixed({ name }: SnapshotInfo, field: string, why: string, hint?: string): SandboxError {
  return new SandboxError(
    "invalid_argument",
    `\`${field}\` cannot be chosen: the prepared image '${name}' ${why}`,
    {
      hint: hint ?? "Prepare another one with what you need: msb prepare",
      details: { field },
    },
  );
}
