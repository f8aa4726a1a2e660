import { type PoolInfo, SandboxError } from "../../contract/index.ts";
import type { Pools } from "../../engine/index.ts";

/** Pools without VMs: all that are wanted are ready. */
export function localPools(inspect: (image: string) => Promise<unknown>): Pools {
  const pools = new Map<string, PoolInfo>();
  return {
    list: () => [...pools.values()],
    async set({ count, ...shape }) {
      await inspect(shape.image);
      const info = {
        ...shape,
        wanted: count,
        ready: count,
        filling: false,
        learned: false,
        hits: 2,
        misses: 1,
      };
      pools.set(JSON.stringify(shape), info);
      return info;
    },
    async remove(image) {
      const found = [...pools].filter(([, info]) => info.image === image);
      if (found.length === 0) throw new SandboxError("not_found", `there is no pool of '${image}'`);
      for (const [key] of found) pools.delete(key);
    },
    keepsDaemon: () => pools.size > 0,
  };
}
