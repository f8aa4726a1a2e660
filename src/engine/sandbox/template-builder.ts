import { mkdir, rm, statfs, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { MAX_DISK_MIB, SandboxError } from "../../contract/index.ts";
import { createQcow2 } from "../disk/index.ts";
import { placeholderErofs } from "../image/index.ts";
import type { Vmm } from "../machine/index.ts";
import { type BootAssets, verifyBootAssets } from "../store/index.ts";
import { type TemplateBuilder, UPPER_FILE } from "../template/index.ts";
import { newId } from "./identity.ts";
import { guestNetworkOf, interfaceOf, STORED_LINK } from "./network.ts";
import { reachAgent } from "./reach-agent.ts";
import type { UidPool } from "./uid-pool.ts";

/** A cold boot takes 2 to 3 seconds under emulation, more on a busy machine. */
const BOOT_TIMEOUT_MS = 60_000;
/** What the guest takes for the size of its disks: the largest that a sandbox can have, since it is told once and for all. */
const SEEN_DISK_BYTES = MAX_DISK_MIB * 1024 ** 2;
const ROOT_FILE = "root.raw";
/** What a template needs beside the guest's memory: device state and manifest, amply. */
const SLACK_BYTES = 16 * 1024 * 1024;

export interface BuilderContext {
  vmm: Vmm;
  assets: BootAssets;
  runDirectory: string;
  uids: UidPool;
  /** How long a guest may take to boot, `MSB_BOOT_TIMEOUT_MS`; default 60,000. */
  bootTimeoutMs?: number | undefined;
}

/**
 * Boots a machine until its agent waits and has mounted a fresh upper file system, and stores it there: between two frames,
 * before any identity or image. A sandbox's own disk begins as an overlay over the template's, which the guest has mounted.
 */
export function templateBuilder(context: BuilderContext): TemplateBuilder {
  return async (directory, inputs, signal) => {
    const { cpus, memoryMiB, volumeSlots } = inputs;
    const link = inputs.network === "" ? undefined : STORED_LINK;
    const { vmm, assets, uids, bootTimeoutMs = BOOT_TIMEOUT_MS } = context;
    await verifyBootAssets(assets);
    await assertSpace(directory, inputs.memoryMiB);
    const uid = uids.acquire();
    const runDirectory = join(context.runDirectory, `t${newId().slice(0, 7)}`);
    await mkdir(runDirectory, { mode: 0o700 });
    try {
      await createQcow2(join(directory, UPPER_FILE), { virtualSizeBytes: SEEN_DISK_BYTES });
      await makePlaceholder(join(directory, ROOT_FILE));
      const machine = await vmm.boot({
        shape: { cpus, memoryMiB, volumeSlots, network: link && interfaceOf(link) },
        boot: assets,
        stateDirectory: directory,
        runDirectory,
        uid,
      });
      try {
        await machine.controlled;
        // The hello is answered once the agent has booted; its reply read, the stream stands between two frames.
        const agent = await reachAgent(machine, { filler: false, timeoutMs: bootTimeoutMs, signal });
        await agent.prepare(link && guestNetworkOf(link));
        await machine.pause();
        await machine.store(signal === undefined ? {} : { signal });
        agent.close();
        await rm(join(directory, ROOT_FILE));
      } finally {
        await machine.kill();
      }
    } catch (error) {
      // A full disk shows itself to QEMU as a bus error in the memory it maps.
      await assertSpace(directory, 0);
      throw error;
    } finally {
      uids.release(uid);
      await rm(runDirectory, { recursive: true, force: true });
    }
  };
}

/** A disk with an empty image, as large as any image may be: the guest mounts it, and finds the real one in its place when it is loaded. */
async function makePlaceholder(path: string): Promise<void> {
  await writeFile(path, placeholderErofs());
  await truncate(path, SEEN_DISK_BYTES);
}

/** @throws `resource_exhausted` if the disk has no room for this much guest memory */
async function assertSpace(directory: string, memoryMiB: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const free = bavail * bsize;
  if (free >= memoryMiB * 1024 ** 2 + SLACK_BYTES) return;
  const freeMiB = Math.floor(free / 1024 ** 2);
  throw new SandboxError(
    "resource_exhausted",
    `the disk is full: a template may need ${memoryMiB} MiB, ${freeMiB} MiB are free`,
    {
      hint: "Free some space, or set MSB_HOME to another disk.",
      details: { freeMiB, neededMiB: memoryMiB },
    },
  );
}
