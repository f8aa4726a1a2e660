import type { FolderMount, Mount, VolumeMount } from "../../contract/index.ts";
import type { AgentConnection } from "../guest/index.ts";
import type { VolumeStore } from "../volume/index.ts";

/** What a sandbox has mounted beside its root, from the spec to the guest. */

/** An empty ext4 of 1 TiB takes some seconds to grow under emulation, a long journal to replay. */
const MOUNT_TIMEOUT_MS = 60_000;

/** The volumes among the mounts; the first has the VM's disk `volume0`, and so on. */
export function volumesOf(mounts: readonly Mount[]): VolumeMount[] {
  return mounts.filter((mount) => mount.type === "volume");
}

/** Mount points that lie in other mounts come after those. */
export function inOrder(mounts: readonly Mount[]): Mount[] {
  // A path sorts before all that begin with it.
  return [...mounts].sort((a, b) => (a.target < b.target ? -1 : 1));
}

/** Has the guest mount all of them; after its setup and before its first process. */
export async function mountAll(
  agent: AgentConnection,
  mounts: readonly Mount[],
  volumes: VolumeStore,
  mountFolder: (mount: FolderMount) => Promise<void>,
  { signal }: { signal?: AbortSignal | undefined },
): Promise<void> {
  const wait = { signal, timeoutMs: MOUNT_TIMEOUT_MS };
  const disks = volumesOf(mounts);
  for (const mount of inOrder(mounts)) {
    const { target } = mount;
    switch (mount.type) {
      case "tmpfs": {
        const { mode, sizeMiB } = mount;
        await agent.mount({ type: "tmpfs", target, mode, sizeBytes: sizeMiB * 1024 ** 2 }, wait);
        break;
      }
      case "volume": {
        const { name, readOnly, dirSync } = mount;
        const disk = `volume${disks.indexOf(mount)}`;
        const { sizeMiB } = await volumes.get(name);
        const sizeBytes = sizeMiB * 1024 ** 2;
        await agent.mount({ type: "volume", target, disk, readOnly, dirSync, sizeBytes }, wait);
        break;
      }
      case "folder":
        await mountFolder(mount);
    }
  }
}
