import { connect as connectSocket, type Socket } from "node:net";
import { SandboxError } from "../../contract/errors.ts";
import { AgentConnection } from "./connection.ts";
import type { OpenOptions } from "./options.ts";

/**
 * Connects to the agent behind a VMM's socket and says hello; with `setup`, hands that over too.
 *
 * @param socketPath where the VMM listens for the port `org.microsandbox.agent`
 * @throws SandboxError `unavailable` when nobody listens there, else as `AgentConnection.open`
 */
export async function connectAgent(socketPath: string, options: OpenOptions): Promise<AgentConnection> {
  if (options.signal?.aborted) {
    throw new SandboxError("cancelled", "cancelled before the guest agent was connected to", {
      cause: options.signal.reason,
    });
  }
  const socket = connectSocket({ path: socketPath });
  await connected(socket, socketPath);
  return await AgentConnection.open(socket, options);
}

// Connecting to a unix socket needs no deadline: the kernel accepts or refuses it at once.
function connected(socket: Socket, socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: NodeJS.ErrnoException) => {
      const message = `the guest agent's socket cannot be connected to (${cause.code}): ${socketPath}`;
      reject(new SandboxError("unavailable", message, { cause }));
    };
    socket.once("error", onError);
    socket.once("connect", () => {
      socket.off("error", onError);
      resolve();
    });
  });
}
