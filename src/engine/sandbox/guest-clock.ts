import type { AgentConnection } from "../guest/index.ts";

/**
 * A guest's wall clock. On a busy machine the time that a guest is told is old when it comes to set it: what it then says its time is tells
 * by how much at most.
 */

/** A guest that takes longer to hear what time it is has its heartbeat to tell of it. */
const TIMEOUT_MS = 5_000;
/** Behind by less, it is right. */
const GOOD_MS = 20;
const ATTEMPTS = 8;

/**
 * Sets it until it is right, as far as the machine lets that be seen. Whatever fails, nobody waits for it.
 * @param timeNs what the guest has just said that its time is, if it has been set already
 */
export async function setClock(agent: Pick<AgentConnection, "ping">, timeNs?: bigint): Promise<void> {
  let behindMs = timeNs === undefined ? Infinity : behind(timeNs);
  for (let attempt = 0; attempt < ATTEMPTS && behindMs > GOOD_MS; attempt++) {
    const answer = await agent
      .ping({ setTimeNs: BigInt(Date.now()) * 1_000_000n, timeoutMs: TIMEOUT_MS })
      .catch(() => undefined);
    if (answer === undefined) return;
    behindMs = behind(answer.timeNs);
  }
}

/** How far it is behind at most: its answer has been under way, too. */
function behind(timeNs: bigint): number {
  return Date.now() - Number(timeNs / 1_000_000n);
}
