import type { PoolInfo, PoolRequestInput } from "../contract/index.ts";
import { sharedConnection } from "./connection.ts";
import { type CallOptions, QUICK_MS, SLOW_MS, type SlowCallOptions } from "./options.ts";

/** Pools: VMs that are loaded and wait. `Sandbox.create` and `Sandbox.run` take one where one fits, without being told to. */
export const Pool = {
  /**
   * Has `count` VMs of an image and a shape kept ready from now on; resolves before they are. Deadline: 15 minutes, for the image may
   * have to be fetched.
   */
  async set(request: PoolRequestInput, options: SlowCallOptions = {}): Promise<PoolInfo> {
    const { connection = sharedConnection(), signal, deadlineMs = SLOW_MS, onProgress } = options;
    return connection.json<PoolInfo>({
      method: "PUT",
      path: "/v1/pools",
      body: request,
      signal,
      deadlineMs,
      onProgress,
      purpose: `set the pool of ${request.image}`,
    });
  },

  async list(options: CallOptions = {}): Promise<PoolInfo[]> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    const { pools } = await connection.json<{ pools: PoolInfo[] }>({
      method: "GET",
      path: "/v1/pools",
      signal,
      deadlineMs,
      purpose: "list pools",
    });
    return pools;
  },

  /** Pools of all shapes. @param image as it was named @throws `not_found` */
  async remove(image: string, options: CallOptions = {}): Promise<void> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    await connection.json<void>({
      method: "DELETE",
      path: `/v1/pools?image=${encodeURIComponent(image)}`,
      signal,
      deadlineMs,
      purpose: `remove the pool of ${image}`,
    });
  },
};
