import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Daemon, type ExecProcess } from "../../src/sdk/index.ts";
import type { Workbench } from "../workbench.ts";
import { daemonPid, loadArguments, loadSandbox } from "./guests.ts";
import type { LoadPeer } from "./load.ts";

/** What a daemon grows by with a sandbox that has a network, and then with 1,000 open connections of that. */

export const OPEN_CONNECTIONS = 1000;
/** Garbage of what was before goes within some seconds: memory is looked at until it has not shrunk for this long. */
const SETTLE_MS = 5_000;
const LOOK_EVERY_MS = 250;

export interface NetworkMemory {
  /** A sandbox whose network nobody uses, with all that the first request makes of a daemon. */
  idleMiB: number;
  /** All connections open, each used once. */
  connectionsMiB: number;
}

export async function measureMemory(bench: Workbench, peer: LoadPeer): Promise<NetworkMemory> {
  // A daemon that has built templates has garbage that goes some time later.
  await Daemon.stop({ connection: bench.connection });
  await Daemon.start({ connection: bench.connection });
  const pid = await daemonPid(bench.connection);
  const before = await settled(pid);
  await using sandbox = await loadSandbox(bench.connection, peer);
  const idle = await settled(pid);
  await using process = sandbox.execStream("/net-load", loadArguments(peer, "hold", OPEN_CONNECTIONS, 0));
  await untilOpen(process);
  const open = await settled(pid);
  const { connections } = await sandbox.network.statistics();
  if (connections < OPEN_CONNECTIONS) throw new Error(`${connections} connections were open`);
  return { idleMiB: idle - before, connectionsMiB: open - idle };
}

/** Not with a loop over the output: leaving one ends the process. */
async function untilOpen(process: ExecProcess): Promise<void> {
  const events = process[Symbol.asyncIterator]();
  let said = "";
  while (said !== "open\n") {
    const { value } = await events.next();
    if (value?.type !== "output" || value.stream === "stderr")
      throw new Error(`net-load ended: ${said}${value?.data ?? ""}`);
    said += value.data.toString();
  }
}

async function settled(pid: number): Promise<number> {
  let least = Infinity;
  for (let since = performance.now(); performance.now() - since < SETTLE_MS; await sleep(LOOK_EVERY_MS)) {
    const status = await readFile(`/proc/${pid}/status`, "latin1");
    const now = Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
    if (now >= least) continue;
    least = now;
    since = performance.now();
  }
  return least;
}
