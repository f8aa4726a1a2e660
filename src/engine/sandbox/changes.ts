import { SandboxError } from "../../contract/index.ts";
import type { AgentConnection, GuestProcess } from "../guest/index.ts";

/** Of what the guest says when it fails. */
const MAX_COMPLAINT_BYTES = 4096;

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
  return stream(guest, name, signal);
}

interface Piece {
  chunk: Buffer;
  offset: number;
  taken: () => void;
}

async function* stream(
  guest: GuestProcess,
  name: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  const complaint: Buffer[] = [];
  let complaintBytes = 0;
  let next = Promise.withResolvers<Piece | "end">();
  guest.onOutput((stream, offset, chunk) => {
    if (stream === "stderr") {
      if (complaintBytes < MAX_COMPLAINT_BYTES) complaint.push(chunk);
      complaintBytes += chunk.length;
      guest.ack("stderr", offset + chunk.length);
      return;
    }
    if (chunk.length === 0) return;
    return new Promise<void>((taken) => next.resolve({ chunk, offset, taken }));
  });
  const exited = guest.exited.then((exit) => {
    next.resolve("end");
    return exit;
  });
  exited.catch((error) => next.reject(error));
  const onAbort = () => guest.release();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    if (signal?.aborted) onAbort();
    for (;;) {
      const piece = await next.promise;
      if (piece === "end") break;
      next = Promise.withResolvers();
      next.promise.catch(() => {});
      yield piece.chunk;
      guest.ack("stdout", piece.offset + piece.chunk.length);
      piece.taken();
    }
    const exit = await exited;
    if ("code" in exit && exit.code === 0) return;
    const said = Buffer.concat(complaint).toString("utf8", 0, MAX_COMPLAINT_BYTES).trim();
    throw new SandboxError(
      "internal",
      `what sandbox '${name}' has written cannot be read back: ${said || "it was ended"}`,
    );
  } finally {
    signal?.removeEventListener("abort", onAbort);
    guest.release();
  }
}
