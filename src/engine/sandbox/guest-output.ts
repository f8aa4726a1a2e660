import { Complaint, type GuestProcess, type ProcessExit } from "../guest/index.ts";

interface Piece {
  chunk: Buffer;
  offset: number;
  taken: () => void;
}

/**
 * The stdout of a process of the agent's own, as fast as it is taken and no faster. Whoever stops reading ends the process.
 *
 * @param failed makes the error of an end that is no success from what the process said on stderr, at most 4 KiB of it
 * @throws what `failed` makes; `cancelled` after `signal` and when the process was released, `unavailable` if the VM is lost
 */
export async function* guestOutput(
  guest: GuestProcess,
  failed: (complaint: string, exit: ProcessExit) => Error,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  const complaint = new Complaint();
  const pieces: Piece[] = [];
  let end: { exit: ProcessExit } | { error: unknown } | undefined;
  let wake = () => {};
  guest.onOutput((stream, offset, chunk) => {
    if (stream === "stderr") {
      complaint.add(chunk);
      guest.ack("stderr", offset + chunk.length);
      return;
    }
    if (chunk.length === 0) return;
    return new Promise<void>((taken) => {
      pieces.push({ chunk, offset, taken });
      wake();
    });
  });
  guest.exited.then(
    (exit) => {
      end = { exit };
      wake();
    },
    (error) => {
      end = { error };
      wake();
    },
  );
  const onAbort = () => guest.release();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    if (signal?.aborted) onAbort();
    for (;;) {
      const piece = pieces.shift();
      if (piece !== undefined) {
        yield piece.chunk;
        guest.ack("stdout", piece.offset + piece.chunk.length);
        piece.taken();
      } else if (end === undefined) {
        // Nothing happens between the look and the wait: no wake is missed.
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      } else if ("error" in end) {
        throw end.error;
      } else {
        if ("code" in end.exit && end.exit.code === 0) return;
        throw failed(complaint.toString(), end.exit);
      }
    }
  } finally {
    signal?.removeEventListener("abort", onAbort);
    guest.release();
  }
}
