import type { Sandbox } from "../src/sdk/index.ts";
import { until } from "./sandbox-driver.ts";

/** A program that counts while it lives: one that counts on from where it was was not started anew. */

/** For `sh -c`: it counts in its memory and on its disk, and says so. */
export const COUNT =
  "i=0; while :; do i=$((i+1)); echo $i > /dev/shm/count; echo $i > /root/count; echo $i; usleep 20000; done";

/** The file is empty for a moment, whenever it is written. */
const READ_COUNT = 'until n=$(cat /dev/shm/count 2>/dev/null); [ -n "$n" ]; do :; done; echo $n';

/** What it has come to; waits for it to have begun. */
export async function countOf(sandbox: Sandbox): Promise<number> {
  return Number((await sandbox.shell(READ_COUNT)).stdout);
}

/** Waits until it counts on. @returns what it had come to before */
export async function countsOn(sandbox: Sandbox, timeoutMs?: number): Promise<number> {
  const before = await countOf(sandbox);
  await until(async () => (await countOf(sandbox)) > before, `${sandbox.name} counts on`, timeoutMs);
  return before;
}
