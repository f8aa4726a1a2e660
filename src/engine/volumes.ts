import { SandboxError, type VolumeInfo, type VolumeUser } from "../contract/index.ts";
import type { Volumes } from "./engine.ts";
import type { EventLog } from "./store/index.ts";
import type { StoredVolume, VolumeHolds, VolumeStore } from "./volume/index.ts";

export interface VolumeRooms {
  store: VolumeStore;
  holds: VolumeHolds;
  sandboxes: { volumeUsers(volume: string): VolumeUser[] };
  events: EventLog;
}

/** The volumes as the server sees them. */
export function volumesApi({ store, holds, sandboxes, events }: VolumeRooms): Volumes {
  const toInfo = ({ name, sizeMiB, usedBytes, createdAt }: StoredVolume): VolumeInfo => ({
    name,
    sizeMiB,
    usedBytes,
    createdAt,
    users: sandboxes.volumeUsers(name),
  });
  /** Names of those that have it, and of those that are gone but for their VM, which still ends. */
  const usersOf = (name: string) => {
    const names = [...sandboxes.volumeUsers(name), ...holds.holdersOf(name)].map((user) => user.name);
    return [...new Set(names)];
  };
  /** From the question who uses it until it is out of the way nothing else happens. */
  const remove = (name: string): Promise<void> => {
    const users = usersOf(name);
    if (users.length > 0) throw inUse(name, users);
    const removing = store.remove(name);
    events.add({ type: "volume.removed", message: name });
    return removing;
  };

  return {
    list: async () => (await store.list()).map(toInfo),
    get: async (name) => toInfo(await store.get(name)),
    async create({ name, sizeMiB }) {
      const volume = await store.create(name, sizeMiB);
      events.add({ type: "volume.created", message: name });
      return toInfo(volume);
    },
    remove: async (name) => remove(name),
    async prune() {
      const removed: StoredVolume[] = [];
      for (const volume of await store.list()) {
        if (usersOf(volume.name).length > 0) continue;
        await remove(volume.name);
        removed.push(volume);
      }
      return {
        removed: removed.map(({ name }) => name),
        freedBytes: removed.reduce((sum, { usedBytes }) => sum + usedBytes, 0),
      };
    },
  };
}

function inUse(name: string, users: string[]): SandboxError {
  const who = users.length === 1 ? `sandbox '${users[0]}' has` : `sandboxes ${users.join(", ")} have`;
  return new SandboxError("invalid_state", `volume '${name}' is in use: ${who} it among its mounts`, {
    hint: `Remove what uses it first: msb rm ${users.join(" ")}`,
    details: { volume: name, sandboxes: users },
  });
}
