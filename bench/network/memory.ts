import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { ExecProcess } from "../../src/sdk/index.ts";
import type { Workbench } from "../workbench.ts";
import { daemonPid, loadArguments, loadSandbox } from "./guests.ts";
import type { LoadPeer } from "./load.ts";

/** What the daemon's memory grows by when a sandbox has a network, and when that has 1,000 connections open. */

export const OPEN_CONNECTIONS = 1000;
/** Until garbage of the opening is gone: what is asked for is what it costs to stay. */
const SETTLE_MS = 3_000;

export interface NetworkMemory {
  /** The first thread with one stack that nobody uses. */
  idleMiB: number;
  /** The same with all connections open, each used once. */
  openMiB: number;
}

export async function measureMemory(bench: Workbench, peer: LoadPeer): Promise<NetworkMemory> {
  const pid = await daemonPid(bench.connection);
  const before = await settled(pid);
  await using sandbox = await loadSandbox(bench.connection, peer);
  const idle = await settled(pid);
  await using process = sandbox.execStream("/net-load", loadArguments(peer, "hold", OPEN_CONNECTIONS, 0));
  await untilOpen(process);
  const open = await settled(pid);
  const { connections } = await sandbox.network.statistics();
  if (connections < OPEN_CONNECTIONS) throw new Error(`${connections} connections were open`);
  return { idleMiB: idle - before, openMiB: open - before };
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
  await sleep(SETTLE_MS);
  const status = await readFile(`/proc/${pid}/status`, "latin1");
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}
