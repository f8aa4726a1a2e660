import { setTimeout as sleep } from "node:timers/promises";
import { SandboxError } from "../../contract/index.ts";
import { type AgentConnection, connectAgent, type OpenOptions } from "../guest/index.ts";
import type { Machine } from "../machine/index.ts";

const POLL_MS = 1;

/**
 * Connects to the agent of a machine that is just starting: its socket appears when the VMM has made it.
 * @throws `timeout` if the agent stays silent, with the last of the guest's console; what ended the VM, if it ended
 */
export async function reachAgent(
  machine: Machine,
  options: OpenOptions & { timeoutMs: number },
): Promise<AgentConnection> {
  const ended = machine.exited.then((exit) => {
    throw new VmEnded(exit.cause, exit.message);
  });
  ended.catch(() => {});
  const connected = connectWhenThere(machine, options);
  try {
    return await Promise.race([connected, ended]);
  } catch (error) {
    // Whoever lost the race must not keep a socket.
    connected.then((connection) => connection.close()).catch(() => {});
    if (error instanceof VmEnded) throw error;
    const known = SandboxError.from(error);
    // The VM's end and the closing of its sockets come together; its end says more.
    if (known.code === "unavailable") await Promise.race([ended, sleep(500)]);
    if (known.code !== "timeout") throw known;
    throw new SandboxError("timeout", `the guest's agent did not answer within ${options.timeoutMs} ms`, {
      hint: "The host may be overloaded. 'msb doctor' tells what it can do; 'msb daemon logs' what happened.",
      details: { console: (await machine.console().catch(() => "")).slice(-2_000) },
      cause: known,
    });
  }
}

/** The VM ended while we waited for its agent. */
export class VmEnded extends SandboxError {
  readonly vmCause: string;

  constructor(vmCause: string, message: string) {
    super(vmCause === "crashed" || vmCause === "state-rejected" ? "internal" : "unavailable", message);
    this.vmCause = vmCause;
  }
}

async function connectWhenThere(
  machine: Machine,
  options: OpenOptions & { timeoutMs: number },
): Promise<AgentConnection> {
  const deadline = Date.now() + options.timeoutMs;
  for (;;) {
    try {
      return await connectAgent(machine.agentSocket, {
        ...options,
        timeoutMs: Math.max(1, deadline - Date.now()),
      });
    } catch (error) {
      const code = ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code;
      if (code !== "ENOENT" && code !== "ECONNREFUSED") throw error;
      if (Date.now() > deadline) throw new SandboxError("timeout", "the VMM made no socket");
    }
    options.signal?.throwIfAborted();
    await sleep(POLL_MS);
  }
}
