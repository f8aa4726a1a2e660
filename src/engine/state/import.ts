/**
 * Reads an archive that `exportState` wrote, or somebody who means harm. Its manifest comes first and says all that may follow: only
 * regular files that it names, each once, each of the size that it has there. Bounds: MAX_MANIFEST_BYTES, MAX_FILES and the sizes in
 * manifest.ts; MAX_TRAILER_BYTES behind the end; what an entry brings must fit on the disk before it is taken. In memory is one piece of
 * the stream at a time.
 */

import { type FileHandle, mkdir, open, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { SandboxError } from "../../contract/index.ts";
import { ByteReader, decompress, readTar, show, type TarEntry } from "../../tar/index.ts";
import { diskFull } from "../storage-error.ts";
import { writeFully } from "../write-fully.ts";
import { chainOf } from "./chain.ts";
import { readRuns } from "./delta.ts";
import { fileDigest } from "./digest.ts";
import { MANIFEST_FILE } from "./layout.ts";
import { decodeManifest, MAX_MANIFEST_BYTES, type StateManifest } from "./manifest.ts";
import { decrypt, HEADER_BYTES, isEncrypted } from "./passphrase.ts";

const MAX_ARCHIVE_BYTES = 2 ** 46;
/** Writers fill the last block of 10 KiB; a tape's is not larger than this. */
const MAX_TRAILER_BYTES = 1024 * 1024;

export interface ImportOptions {
  /** Default: the name that the archive has, or `imported-<id>`. */
  name?: string | undefined;
  /** Of an encrypted archive. */
  passphrase?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Throws if what the archive says of itself is not to be had; called before anything of it is unpacked. */
  admit?: ((manifest: StateManifest) => void) | undefined;
  /** Called now and then with the bytes of the archive, unpacked, so far. */
  onProgress?: ((bytes: number) => void) | undefined;
}

/**
 * Unpacks the archive into `directory`, which is empty. What was written before an error stays.
 * @returns its manifest, as it was where it comes from. Sums are not compared yet
 * @throws `unauthenticated` (the passphrase), `invalid_argument`, `resource_exhausted`, `cancelled`
 */
export async function unpack(
  directory: string,
  source: AsyncIterable<Uint8Array>,
  { passphrase, signal, admit, onProgress }: ImportOptions,
): Promise<StateManifest> {
  const reader = new ByteReader(decompress(plain(source, passphrase)), MAX_ARCHIVE_BYTES);
  let manifest: StateManifest | undefined;
  const missing = new Map<string, number>();
  try {
    for await (const entry of readTar(reader)) {
      if (signal?.aborted) throw cancelled(signal);
      if (manifest === undefined) {
        manifest = await readFirst(entry);
        admit?.(manifest);
        for (const { path, bytes } of manifest.files) missing.set(path, bytes);
      } else {
        const bytes = missing.get(entry.path);
        if (entry.type !== "file" || bytes === undefined)
          throw refused(`${show(entry.path)} has no place in it`);
        if (entry.size !== bytes)
          throw refused(`${show(entry.path)} has ${entry.size} bytes in place of ${bytes}`);
        missing.delete(entry.path);
        await unpackFile(directory, entry, () => {
          if (signal?.aborted) throw cancelled(signal);
          onProgress?.(reader.position);
        });
      }
    }
    await readTrailer(reader);
  } catch (error) {
    throw signal?.aborted ? cancelled(signal) : error;
  } finally {
    await reader.close().catch(() => {});
  }
  const [first] = missing.keys();
  if (manifest === undefined) throw refused("it is empty");
  if (first !== undefined) throw refused(`${first} is missing`);
  return manifest;
}

/** Every file of an unpacked archive against its manifest. @throws `invalid_argument` naming the file, `cancelled` */
export async function checkUnpacked(
  directory: string,
  { files, memory }: StateManifest,
  options: { signal?: AbortSignal | undefined },
): Promise<void> {
  for (const { path, sha256 } of files) {
    if ((await fileDigest(join(directory, path), options)) !== sha256) {
      throw refused(`${path} is not what its sum says`);
    }
  }
  if (memory === undefined) return;
  const { deltas } = chainOf(directory, memory.levels.length);
  for (const [level, delta] of deltas.entries()) {
    await readRuns(delta, level, memory.bytes).catch((cause) => {
      throw refused(`level ${level} of its memory is malformed`, cause);
    });
  }
}

/** The archive without its encryption. Whoever gives a passphrase wants nothing that was not made with it. */
async function* plain(
  source: AsyncIterable<Uint8Array>,
  passphrase: string | undefined,
): AsyncGenerator<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  try {
    let head: Buffer = Buffer.alloc(0);
    while (head.length < HEADER_BYTES) {
      const { done, value } = await iterator.next();
      if (done) break;
      head = Buffer.concat([head, value]);
    }
    const rest = { [Symbol.asyncIterator]: () => ({ next: () => iterator.next() }) };
    if (isEncrypted(head)) {
      if (passphrase === undefined) {
        throw new SandboxError("unauthenticated", "the archive is encrypted", {
          hint: "Give its passphrase.",
        });
      }
      yield* decrypt(head, rest, passphrase);
    } else {
      if (passphrase !== undefined) {
        throw new SandboxError(
          "invalid_argument",
          "the archive is not encrypted, but a passphrase was given",
          {
            hint: "It may not be the one that was exported. If you trust it, leave the passphrase out.",
          },
        );
      }
      yield head;
      yield* rest;
    }
  } finally {
    await iterator.return?.();
  }
}

async function readFirst(entry: TarEntry): Promise<StateManifest> {
  if (entry.path !== MANIFEST_FILE || entry.type !== "file" || entry.sparse !== undefined) {
    throw refused(`it begins with ${show(entry.path)}, not with ${MANIFEST_FILE}`);
  }
  if (entry.size > MAX_MANIFEST_BYTES) throw refused(`${MANIFEST_FILE} is too long`);
  const parts: Buffer[] = [];
  for await (const piece of entry.body()) parts.push(Buffer.from(piece));
  const decoded = decodeManifest(Buffer.concat(parts).toString("utf8"));
  if ("problem" in decoded) throw refused(`${MANIFEST_FILE}: ${decoded.problem}`);
  if (!decoded.durable) throw refused("it was made to be used once");
  return decoded;
}

async function unpackFile(directory: string, entry: TarEntry, onPiece: () => void): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  if (entry.storedBytes > bavail * bsize) throw diskFull(`unpacking ${entry.path} of a snapshot`);
  const path = join(directory, entry.path);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await using file = await open(path, "wx", 0o600);
  await file.truncate(entry.size);
  const extents = entry.sparse ?? [{ offset: 0, length: entry.size }];
  const body = entry.body();
  let piece: Buffer = Buffer.alloc(0);
  for (const { offset, length } of extents) {
    for (let done = 0; done < length; ) {
      if (piece.length === 0) {
        const { done: ended, value } = await body.next();
        if (ended) return;
        piece = value;
        onPiece();
      }
      const part = piece.subarray(0, length - done);
      await writeUnlessZero(file, part, offset + done);
      done += part.length;
      piece = piece.subarray(part.length);
    }
  }
}

/** Where the writer knew no holes the file has some all the same. */
async function writeUnlessZero(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  if (bytes.equals(ZEROS.subarray(0, bytes.length))) return;
  await writeFully(file, bytes, at);
}

const ZEROS = Buffer.alloc(1024 * 1024);

/** To the end of the stream: only there an encrypted one has shown that it is whole. */
async function readTrailer(reader: ByteReader): Promise<void> {
  for (let left = MAX_TRAILER_BYTES; left > 0; left -= 512) {
    if ((await reader.readUnlessEnd(512)) === undefined) return;
  }
  throw refused("it goes on behind its end");
}

function refused(how: string, cause?: unknown): SandboxError {
  return new SandboxError("invalid_argument", `the archive is no snapshot, or damaged: ${how}`, {
    hint: "Only what 'msb snapshot export' wrote can be imported. If it is, fetch it again.",
    cause,
  });
}

function cancelled(signal: AbortSignal): SandboxError {
  return new SandboxError("cancelled", "the import was cancelled", { cause: signal.reason });
}
