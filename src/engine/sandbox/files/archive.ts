import { type ExtractFilesRequest, type PackFilesRequest, SandboxError } from "../../../contract/index.ts";
import { Complaint, type GuestProcess, type ProcessExit, type ProcessSpec } from "../../guest/index.ts";
import { guestOutput } from "../guest-output.ts";
import { pathBytes } from "./path-bytes.ts";
import { processFailure } from "./process-failure.ts";

/** Trees of files as tars, each by a process of the agent's own (spec/agent-protocol.md, "archive and extract"). */

export type Start = (spec: ProcessSpec) => Promise<GuestProcess>;

/** Bytes that are given to the process at once: it may end between two pieces. */
const PIECE_BYTES = 64 * 1024;

/** @param name the sandbox's, for errors */
export async function packFiles(
  start: Start,
  name: string,
  { path, follow = false }: PackFilesRequest,
  signal: AbortSignal | undefined,
): Promise<AsyncGenerator<Buffer>> {
  const argv = ["archive", pathBytes(path).toString("hex"), ...(follow ? ["follow"] : [])];
  const guest = await start({ argv, builtin: "archive" });
  return guestOutput(guest, (complaint) => processFailure(name, `read ${path}`, complaint), signal);
}

/** @param name the sandbox's, for errors */
export async function extractFiles(
  start: Start,
  name: string,
  { path, uid = 0, gid = 0, keepOwners = false }: ExtractFilesRequest,
  tar: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const owners = keepOwners ? ["keep"] : [String(uid), String(gid)];
  const argv = ["extract", pathBytes(path).toString("hex"), ...owners];
  const guest = await start({ argv, builtin: "extract", stdin: true });
  const complaint = new Complaint();
  guest.onOutput((stream, offset, chunk) => {
    if (stream === "stderr") complaint.add(chunk);
    guest.ack(stream, offset + chunk.length);
  });
  const onAbort = () => guest.release();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    if (signal?.aborted) onAbort();
    const exit = await feed(guest, tar);
    if (!("code" in exit) || exit.code !== 0)
      throw processFailure(name, `write into ${path}`, complaint.toString());
  } finally {
    signal?.removeEventListener("abort", onAbort);
    guest.release();
  }
}

/** Gives the process what comes, until that or the process ends: what it says then matters more than that it took no more. */
async function feed(guest: GuestProcess, tar: AsyncIterable<Uint8Array>): Promise<ProcessExit> {
  const pieces = tar[Symbol.asyncIterator]();
  let over = false;
  let wake = () => {};
  const end = () => {
    over = true;
    wake();
  };
  guest.exited.then(end, end);
  try {
    for (;;) {
      // No Promise.race: it would leave something at the process for every piece.
      const next = await new Promise<IteratorResult<Uint8Array> | undefined>((resolve, reject) => {
        if (over) return resolve(undefined);
        wake = () => resolve(undefined);
        pieces.next().then(resolve, reject);
      });
      if (next === undefined) break;
      if (next.done === true) {
        guest.endStdin();
        break;
      }
      for (let at = 0; at < next.value.length; at += PIECE_BYTES) {
        await guest.write(Buffer.from(next.value.subarray(at, at + PIECE_BYTES)));
      }
    }
  } catch (error) {
    if (!(error instanceof SandboxError) || error.code !== "invalid_state") throw error;
  } finally {
    // Not waited for: one that waits for its next piece would come to its end only then.
    void pieces.return?.()?.catch(() => {});
  }
  return guest.exited;
}
