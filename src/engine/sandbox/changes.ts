import { SandboxError } from "../../contract/index.ts";
import type { AgentConnection } from "../guest/index.ts";
import { guestOutput } from "./guest-output.ts";

export interface ReadChangesOptions {
  agent: AgentConnection;
  /** A process number that was never used. */
  number: number;
  /** The sandbox's name, for errors. */
  name: string;
  signal?: AbortSignal | undefined;
}

/**
 * What a sandbox has written on top of its image, as the tar of an OCI layer (spec/agent-protocol.md, "changes"). It comes as fast as
 * it is taken; whoever stops early ends the reading. Processes that write meanwhile may be caught half-way.
 *
 * @throws what the guest could not do; while it streams, `internal` with what the guest said, `cancelled`, `unavailable` if the VM is lost
 */
export async function readChanges({
  agent,
  number,
  name,
  signal,
}: ReadChangesOptions): Promise<AsyncIterable<Buffer>> {
  const spec = { argv: ["changes"], builtin: "changes" } as const;
  const guest = await agent.start(number, spec, { signal });
  const failed = (complaint: string) =>
    new SandboxError(
      "internal",
      `what sandbox '${name}' has written cannot be read back: ${complaint || "it was ended"}`,
    );
  return guestOutput(guest, failed, signal);
}
