import type { Sandbox } from "../src/sdk/index.ts";

/** A guest's clock, compared with the host's. */

/** It may be wrong by so much. */
export const WRONG_MS = 50;

/** Microseconds since 1970. busybox has no fractions of seconds in `date`, and no other image has its `adjtimex`. */
const NOW = `if command -v adjtimex >/dev/null
then set -- $(adjtimex | sed -n 's/.*tv_u*sec: *//p'); echo $(($1 * 1000000 + $2))
else date +%s%6N
fi`;

/** How far the guest's clock is beyond what the round trip explains, milliseconds. The best of some: the machine may be busy. */
export async function clockError(sandbox: Sandbox): Promise<number> {
  let best = Infinity;
  for (let i = 0; i < 5 && best > 0; i++) {
    const before = Date.now();
    const { stdout } = await sandbox.shell(NOW);
    const after = Date.now();
    if (!/^\d{16}\n$/.test(stdout)) throw new Error(`the guest says that it is '${stdout}'`);
    const guestMs = Number(stdout) / 1000;
    best = Math.min(best, Math.max(0, before - guestMs, guestMs - after));
  }
  return best;
}
