import type { Cbor } from "./cbor.ts";
import { encodeMessage } from "./commands.ts";
import type { AgentConnection } from "./connection.ts";
import type { Wait } from "./deadline.ts";
import { Fields } from "./fields.ts";

/** Which processes of the guest connections belong to (spec/agent-protocol.md, "owners"). All of it is the guest's word. */

export const MAX_OWNED_FLOWS = 64;

export interface GuestFlow {
  protocol: "tcp" | "udp";
  /** The guest's own. */
  localPort: number;
  /** Of the other side: 4 or 16 bytes. */
  address: Uint8Array;
  port: number;
}

export interface FlowOwner {
  pid: number;
  /** The process's short name, as the kernel has it. */
  command: string;
}

const MAX_PID = 2 ** 31 - 1;
const MAX_COMMAND = 64;

/**
 * One for each flow, in their order; undefined where the guest found none. At most `MAX_OWNED_FLOWS` are asked about.
 *
 * @throws SandboxError `unsupported` by an agent of an older template
 */
export function askOwners(
  agent: Pick<AgentConnection, "request">,
  flows: readonly GuestFlow[],
  wait: Wait = {},
): Promise<(FlowOwner | undefined)[]> {
  return agent.request("owners", (id) => encodeOwners(id, flows), readOwners, wait);
}

export function encodeOwners(id: number, flows: readonly GuestFlow[]): Buffer {
  return encodeMessage({
    op: "owners",
    id,
    flows: flows.slice(0, MAX_OWNED_FLOWS).map(({ protocol, localPort, address, port }) => ({
      udp: protocol === "udp",
      local: localPort,
      address,
      port,
    })),
  });
}

export function readOwners(result: Fields): (FlowOwner | undefined)[] {
  return result.list("owners", MAX_OWNED_FLOWS).map((each: Cbor) => {
    const owner = new Fields(each, "an owner");
    if (!owner.has("pid")) return undefined;
    return { pid: owner.uint("pid", MAX_PID), command: owner.prose("command", MAX_COMMAND) };
  });
}
