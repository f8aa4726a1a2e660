import type { VolumeInfo, VolumePruneReport } from "../contract/index.ts";
import { sharedConnection } from "./connection.ts";
import { type CallOptions, QUICK_MS } from "./options.ts";

export interface VolumeCreateOptions extends CallOptions {
  /** Default: 4096, which is also the least. Sparse: it takes room on the host as it is written. */
  sizeMiB?: number | undefined;
}

/** Volumes: named disks that outlive sandboxes. A sandbox has them among its `mounts`. */
export const Volume = {
  /** @throws `already_exists` */
  async create(name: string, options: VolumeCreateOptions = {}): Promise<VolumeInfo> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS, sizeMiB } = options;
    return connection.json<VolumeInfo>({
      method: "POST",
      path: "/v1/volumes",
      body: { name, ...(sizeMiB !== undefined && { sizeMiB }) },
      signal,
      deadlineMs,
      purpose: `create volume ${name}`,
    });
  },

  async list(options: CallOptions = {}): Promise<VolumeInfo[]> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    const { volumes } = await connection.json<{ volumes: VolumeInfo[] }>({
      method: "GET",
      path: "/v1/volumes",
      signal,
      deadlineMs,
      purpose: "list volumes",
    });
    return volumes;
  },

  /** @throws `not_found` */
  async get(name: string, options: CallOptions = {}): Promise<VolumeInfo> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    return connection.json<VolumeInfo>({
      method: "GET",
      path: `/v1/volumes/${encodeURIComponent(name)}`,
      signal,
      deadlineMs,
      purpose: `get volume ${name}`,
    });
  },

  /** @throws `invalid_state` naming the sandboxes that have it among their mounts, whether they run or not */
  async remove(name: string, options: CallOptions = {}): Promise<void> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    await connection.json<void>({
      method: "DELETE",
      path: `/v1/volumes/${encodeURIComponent(name)}`,
      signal,
      deadlineMs,
      purpose: `remove volume ${name}`,
    });
  },

  /** Removes all that no sandbox has among its mounts, with what is in them. */
  async prune(options: CallOptions = {}): Promise<VolumePruneReport> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    return connection.json<VolumePruneReport>({
      method: "POST",
      path: "/v1/volumes/prune",
      signal,
      deadlineMs,
      purpose: "prune volumes",
    });
  },
};
