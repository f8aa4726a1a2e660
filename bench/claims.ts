import { setTimeout as sleep } from "node:timers/promises";
import { Pool, Sandbox } from "../src/sdk/index.ts";
import { IMAGE, type Workbench } from "./workbench.ts";

/** Sandboxes of a pool, one after the other, each when the VM is ready and nothing else is being made. */

const POLL_MS = 20;
const READY_MS = 60_000;

/** @returns milliseconds from the claim to the first command's end, for each; and of the claim alone */
export async function timeClaims(
  { connection }: Workbench,
  n: number,
): Promise<{ first: number[]; claim: number[] }> {
  const first: number[] = [];
  const claim: number[] = [];
  await Pool.set({ image: IMAGE, count: 1 }, { connection });
  // The first pays for what the daemon does for the first time.
  for (let i = -2; i < n; i++) {
    await ready(connection);
    const start = performance.now();
    const sandbox = await Sandbox.create({ image: IMAGE, connection });
    const claimed = performance.now() - start;
    await sandbox.exec("true");
    const took = performance.now() - start;
    if (!sandbox.info.timings.some(({ name }) => name === "claim"))
      throw new Error("it did not come out of the pool");
    if (i >= 0) {
      first.push(took);
      claim.push(claimed);
    }
    await sandbox.remove({ force: true });
  }
  await Pool.remove(IMAGE, { connection });
  return { first, claim };
}

async function ready(connection: Workbench["connection"]): Promise<void> {
  const deadline = Date.now() + READY_MS;
  for (;;) {
    const [pool] = await Pool.list({ connection });
    if (pool !== undefined && pool.ready >= 1 && !pool.filling) return;
    if (Date.now() > deadline) throw new Error(`the pool is not filled: ${pool?.problem}`);
    await sleep(POLL_MS);
  }
}
