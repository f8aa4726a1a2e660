import { readdir, readFile, stat } from "node:fs/promises";
import { killExactly, startTimeOf } from "./process-identity.ts";

/**
 * Ends VMs that nobody knows of: a daemon that dies between starting one and writing that down, or while it builds a
 * template, leaves a VM that no record names. They are found by where they keep their sockets. Linux; elsewhere none is found.
 *
 * @param runDirectory folder of all machines' run directories
 * @param known names of those whose machine is somebody's
 */
export async function endStrays(runDirectory: string, known: ReadonlySet<string>): Promise<void> {
  const names = await readdir("/proc").catch(() => []);
  await Promise.all(
    names
      .filter((name) => /^\d+$/.test(name))
      .map(async (name) => {
        const pid = Number(name);
        const place = await placeOf(pid, runDirectory);
        if (place === undefined || known.has(place)) return;
        // The jail's keeper first tells its children's numbers, then goes with them.
        for (const one of [...(await childrenOf(pid)), pid]) {
          const startTime = await startTimeOf(one);
          if (startTime !== undefined) await killExactly(one, startTime);
        }
      }),
  );
}

/** Name of the run directory of a VMM of ours or of the keeper of its jail; `undefined` for every other process. */
async function placeOf(pid: number, runDirectory: string): Promise<string | undefined> {
  try {
    const [program = "", ...args] = (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0");
    if (!/(^|\/)(prlimit|bwrap|qemu-system-[^/]*)$/.test(program)) return undefined;
    if ((await stat(`/proc/${pid}`)).uid !== process.getuid?.()) return undefined;
    for (const arg of args) {
      // Alone, as the source of a mount; or, without a jail, as the path of a socket.
      const path = /^(?:socket,.*path=)?(\/.*)$/.exec(arg)?.[1]?.replaceAll(",,", ",");
      if (path?.startsWith(`${runDirectory}/`)) return path.slice(runDirectory.length + 1).split("/")[0];
    }
  } catch {
    // It ended as we looked.
  }
  return undefined;
}

async function childrenOf(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "latin1").catch(() => "");
  return children.trim().split(/\s+/).filter(Boolean).map(Number);
}
