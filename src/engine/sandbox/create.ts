import { join } from "node:path";
import {
  DEFAULT_VOLUME_MIB,
  SandboxError,
  type SandboxInfo,
  type SandboxSpec,
  shownFiles,
} from "../../contract/index.ts";
import type { OperationContext } from "../engine.ts";
import type { StoredImage } from "../image/index.ts";
import type { VolumeUse } from "../volume/index.ts";
import { assertFolders } from "./host-folders.ts";
import { assertMemory } from "./host-memory.ts";
import { newId } from "./identity.ts";
import type { Family } from "./inherit.ts";
import { keepFiles } from "./inline-files.ts";
import { volumesOf } from "./mounts.ts";
import { assertNetwork } from "./network.ts";
import type { SandboxRecord } from "./record.ts";
import type { Sandbox } from "./sandbox.ts";
import { type WarmShape, type WarmVm, warmShapeOf } from "./warm-vm.ts";

/** A sandbox of a spec, from the first check to its running; of a VM that waits, where there is one. */

export interface CreateOptions {
  /** It ends with this daemon's work. */
  temporary: boolean;
  /** See `begin`. */
  held: boolean;
}

/** What a sandbox was asked for with, of all that a VM which waits must have. */
export interface WarmRequest {
  /** As the spec names it. */
  image: string;
  digest: string;
  shape: WarmShape;
}

/** Who keeps VMs that wait to be claimed. */
export interface WarmVms {
  /** One that fits, which is the caller's from now on. Undefined: there is none. */
  take(request: WarmRequest): WarmVm | undefined;
  /** One that was taken could not be claimed, and is gone. */
  failed(request: WarmRequest, reason: string): void;
  /** Somebody's sandbox is being started, until what is returned has been called. */
  busy(): () => void;
}

/** On an error nothing is left of it. */
export async function createSandbox(
  family: Family,
  spec: SandboxSpec,
  operation: OperationContext,
  options: CreateOptions,
): Promise<SandboxInfo> {
  const { context, registry } = family;
  assertMemory(spec.memoryMiB);
  assertNetwork(spec, context.folderPolicy);
  const uses = volumesOf(spec.mounts);
  await context.holds.settled(uses);
  context.holds.assertFree(uses);
  assertFolders(spec.mounts, context.folderPolicy);
  const { names, release } = registry.reserveNames(spec.name, 1);
  const name = names[0]!;
  const made: string[] = [];
  try {
    const image = await context.ensureImage(spec.image, spec, operation);
    await makeVolumes(family, uses, made);
    const fresh = () => startNew(family, { spec, name, image, operation, ...options });
    const shape = options.temporary ? undefined : warmShapeOf(spec);
    if (shape === undefined) return await fresh();
    const request = { image: spec.image, digest: image.digest, shape };
    const warm = family.warm?.take(request);
    if (warm === undefined) return await fresh();
    try {
      return await startNew(family, { spec, name, image, operation, ...options, warm });
    } catch (error) {
      if (warm.acknowledged) throw error;
      await warm.discard();
      if (operation.signal?.aborted) throw error;
      family.warm?.failed(request, SandboxError.from(error).message);
      return await fresh();
    }
  } catch (error) {
    await unmakeVolumes(family, made);
    throw error;
  } finally {
    release();
  }
}

interface NewSandbox extends CreateOptions {
  spec: SandboxSpec;
  name: string;
  image: StoredImage;
  operation: OperationContext;
  warm?: WarmVm;
}

async function startNew(family: Family, wanted: NewSandbox): Promise<SandboxInfo> {
  const { context, registry } = family;
  const { spec, name, image, operation, held, temporary, warm } = wanted;
  let sandbox: Sandbox | undefined;
  try {
    const record: SandboxRecord = {
      id: newId(),
      name,
      spec: {
        ...spec,
        labels: { ...image.config.labels, ...spec.labels },
        files: shownFiles(spec.files),
      },
      imageDigest: image.digest,
      state: "creating",
      createdAt: new Date().toISOString(),
      timings: [],
      hasRun: false,
      reservedProcesses: 0,
      temporary,
      groupNumber: registry.newGroupNumber(spec),
      ...warm?.handed,
    };
    sandbox = registry.add(record, image.config);
    warm?.recorded();
    family.hold(sandbox);
    context.table.put({ ...record, record });
    context.events.add({
      type: "sandbox.creating",
      sandbox: record.id,
      data: { name, image: spec.image, ...(warm && { from: "pool" }) },
    });
    await keepFiles(join(context.paths.sandboxes, record.id), spec.files);
    await sandbox.start(operation, { held, warm });
    return sandbox.info;
  } catch (error) {
    if (sandbox !== undefined && sandbox.state !== "removed") await sandbox.remove();
    throw error;
  }
}

/** Makes the volumes that there are not, with the default size, and notes them in `made`. */
async function makeVolumes({ context }: Family, uses: readonly VolumeUse[], made: string[]): Promise<void> {
  for (const { name } of uses) {
    if (await context.volumes.exists(name)) continue;
    try {
      await context.volumes.create(name, DEFAULT_VOLUME_MIB);
      made.push(name);
      context.events.add({ type: "volume.created", message: name });
    } catch (error) {
      // Another create wanted it too, and was faster.
      if (SandboxError.from(error).code !== "already_exists") throw error;
    }
  }
}

/** A create that failed leaves no volumes, unless somebody has begun to use them meanwhile. */
async function unmakeVolumes({ context, registry }: Family, made: readonly string[]): Promise<void> {
  for (const name of made) {
    if (registry.volumeUsers(name).length > 0 || context.holds.holdersOf(name).length > 0) continue;
    await context.volumes.remove(name);
    context.events.add({ type: "volume.removed", message: name });
  }
}
