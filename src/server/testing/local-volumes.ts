import { SandboxError, type VolumeInfo, type VolumeUser } from "../../contract/index.ts";
import type { Volumes } from "../../engine/index.ts";

/** Volumes without disks: names, sizes and who has them. */
export function localVolumes(usersOf: (name: string) => VolumeUser[]): Volumes {
  const volumes = new Map<string, Omit<VolumeInfo, "users">>();
  const find = (name: string): VolumeInfo => {
    const volume = volumes.get(name);
    if (volume === undefined) throw new SandboxError("not_found", `there is no volume '${name}'`);
    return { ...volume, users: usersOf(name) };
  };
  return {
    list: async () => [...volumes.keys()].map(find),
    get: async (name) => find(name),
    async create({ name, sizeMiB }) {
      if (volumes.has(name)) throw new SandboxError("already_exists", `there is a volume '${name}' already`);
      volumes.set(name, { name, sizeMiB, usedBytes: 4096, createdAt: new Date().toISOString() });
      return find(name);
    },
    async remove(name) {
      if (find(name).users.length > 0) throw new SandboxError("invalid_state", `volume '${name}' is in use`);
      volumes.delete(name);
    },
    async prune() {
      const removed = [...volumes.keys()].filter((name) => usersOf(name).length === 0);
      for (const name of removed) volumes.delete(name);
      return { removed, freedBytes: 4096 * removed.length };
    },
  };
}
