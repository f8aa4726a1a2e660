import {
  type FileEntry,
  type ListFilesRequest,
  type ReadFileRequest,
  SandboxError,
  type WriteFileRequest,
} from "../../../contract/index.ts";
import { Fields } from "../../guest/index.ts";
import type { FilesProcess } from "./files-process.ts";
import { CHUNK_BYTES } from "./messages.ts";
import { pathBytes } from "./path-bytes.ts";
import { readEntry } from "./stat.ts";

/** What takes more than one request: bytes in chunks, listings in pages. Each holds a handle of the guest's, and gives it back. */

/** Chunks that are under way at once: the guest reads one while another travels. */
const WINDOW = 4;
const MAX_PAGE_ENTRIES = 512;
const MAX_HANDLE = 2 ** 53 - 1;

/** @throws before the first byte what opening it throws */
export async function readFile(
  files: FilesProcess,
  { path, user, offset = 0, length = Number.MAX_SAFE_INTEGER }: ReadFileRequest,
  signal: AbortSignal | undefined,
): Promise<AsyncGenerator<Buffer>> {
  const handle = await open(files, { path: pathBytes(path), user });
  return chunks(files, handle, offset, length, signal);
}

async function* chunks(
  files: FilesProcess,
  handle: number,
  offset: number,
  length: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  const waiting: { asked: number; reply: Promise<Buffer> }[] = [];
  let asked = 0;
  try {
    for (;;) {
      while (waiting.length < WINDOW && asked < length) {
        const size = Math.min(CHUNK_BYTES, length - asked);
        const reply = files
          .request({ op: "read", handle, offset: offset + asked, length: size })
          .then((fields) => fields.bytes("data", size));
        reply.catch(() => {}); // of those that nobody waits for any more
        waiting.push({ asked: size, reply });
        asked += size;
      }
      const next = waiting.shift();
      if (next === undefined) return;
      if (signal?.aborted) throw new SandboxError("cancelled", "reading the file was cancelled");
      const data = await next.reply;
      if (data.length > 0) yield data;
      // The file ends here; what was asked beyond is empty.
      if (data.length < next.asked) return;
    }
  } finally {
    // In order behind what is under way, so that no read comes after it.
    await Promise.allSettled(waiting.map(({ reply }) => reply));
    void close(files, handle, false).catch(() => {});
  }
}

/** @returns how many bytes were written */
export async function writeFile(
  files: FilesProcess,
  { path, offset, append = false, create = true, atomic = false, ...rest }: WriteFileRequest,
  body: AsyncIterable<Uint8Array>,
): Promise<number> {
  if (atomic && (offset !== undefined || append)) {
    throw new SandboxError("invalid_argument", "a file that is replaced is written from its beginning");
  }
  const truncate = offset === undefined && !append;
  const handle = await open(files, {
    path: pathBytes(path),
    write: true,
    create,
    append,
    atomic,
    truncate,
    ...rest,
  });
  let written = 0;
  let committed = false;
  const underWay = new Set<Promise<unknown>>();
  let failed: { error: unknown } | undefined;
  try {
    for await (const piece of body) {
      for (let at = 0; at < piece.length; at += CHUNK_BYTES) {
        const data = piece.subarray(at, at + CHUNK_BYTES);
        const done = files
          .request({ op: "write", handle, offset: (offset ?? 0) + written, data })
          .catch((error: unknown) => {
            failed ??= { error };
          })
          .finally(() => underWay.delete(done));
        underWay.add(done);
        written += data.length;
        // What is appended must keep its order; all else says where it belongs.
        if (append || underWay.size >= WINDOW) await Promise.race(underWay);
        if (failed !== undefined) throw failed.error;
      }
    }
    await Promise.all(underWay);
    if (failed !== undefined) throw failed.error;
    committed = true;
    await close(files, handle, true);
    return written;
  } finally {
    if (!committed) {
      await Promise.all(underWay);
      await close(files, handle, false).catch(() => {});
    }
  }
}

/** Page by page. @throws before the first page what opening it throws */
export async function listFiles(
  files: FilesProcess,
  { path, user, recursive = false, depth, glob }: ListFilesRequest,
): Promise<AsyncGenerator<FileEntry[]>> {
  const reply = await files.request({
    op: "list",
    path: pathBytes(path),
    user,
    depth: recursive ? (depth ?? 512) : 1,
    glob: glob === undefined ? undefined : Buffer.from(glob),
  });
  return pages(files, reply.uint("handle", MAX_HANDLE), user);
}

async function* pages(
  files: FilesProcess,
  handle: number,
  user: string | undefined,
): AsyncGenerator<FileEntry[]> {
  try {
    for (;;) {
      const reply = await files.request({ op: "next", handle, user });
      const entries = reply.list("entries", MAX_PAGE_ENTRIES);
      if (entries.length > 0) yield entries.map((entry) => readEntry(new Fields(entry, "an entry")));
      if (reply.bool("done")) return;
    }
  } finally {
    void close(files, handle, false).catch(() => {});
  }
}

async function open(files: FilesProcess, message: Record<string, unknown>): Promise<number> {
  return (await files.request({ op: "open", ...message })).uint("handle", MAX_HANDLE);
}

async function close(files: FilesProcess, handle: number, commit: boolean): Promise<void> {
  await files.request({ op: "close", handle, commit });
}
