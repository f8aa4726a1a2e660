/**
 * Turns a stream that may be gzip, zstd or plain into the plain bytes, told apart by their first bytes.
 * Unpacking runs in the thread pool of node:zlib, beside the hashing and parsing of what came before.
 */

import { Readable, type Transform } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { SandboxError } from "../contract/errors.ts";
import { ZstdFrameSplitter } from "./zstd-frames.ts";

const CHUNK_BYTES = 64 * 1024;
const LONGEST_MAGIC = 6;

/**
 * The plain bytes of `source`.
 *
 * Errors: `invalid_argument` for damaged or cut-off data, `unsupported` for a compression that layers cannot have.
 */
export async function* decompress(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  let head = Buffer.alloc(0) as Buffer;
  try {
    while (head.length < LONGEST_MAGIC) {
      const { done, value } = await iterator.next();
      if (done) break;
      head = Buffer.concat([head, value]);
    }
    const all = prepend(head, iterator);
    const format = compressionOf(head);
    if (format === "gzip") yield* unpack(all, createGunzip({ chunkSize: CHUNK_BYTES }), "gzip");
    else if (format === "zstd") yield* unpackZstd(all);
    else yield* all;
  } finally {
    await iterator.return?.();
  }
}

/** What the first bytes say. */
function compressionOf(head: Buffer): "gzip" | "zstd" | "plain" {
  if (head[0] === 0x1f && head[1] === 0x8b) return "gzip";
  const magic = head.length >= 4 ? head.readUInt32LE(0) : 0;
  if (magic === 0xfd2fb528 || (magic & 0xfffffff0) === 0x184d2a50) return "zstd";
  const other =
    head.toString("latin1", 0, 3) === "BZh"
      ? "bzip2"
      : head.toString("latin1", 1, 5) === "7zXZ"
        ? "xz"
        : undefined;
  if (other !== undefined) {
    throw new SandboxError("unsupported", `the archive is compressed with ${other}`, {
      hint: "Unpack it first, or compress it with gzip or zstd.",
    });
  }
  return "plain";
}

async function* prepend(head: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head;
  for (;;) {
    const { done, value } = await rest.next();
    if (done) return;
    yield value;
  }
}

async function* unpackZstd(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const splitter = new ZstdFrameSplitter();
  const parts = framePieces(source, splitter);
  for (;;) {
    const first = await parts.next();
    if (first.done) break;
    if (first.value === FRAME_END) continue;
    yield* unpack(oneFrame(first.value, parts), createZstdDecompress({ chunkSize: CHUNK_BYTES }), "zstd");
  }
  if (!splitter.complete) throw damaged("zstd", "it is cut off");
}

const FRAME_END = new Uint8Array(0);

async function* framePieces(
  source: AsyncIterable<Uint8Array>,
  splitter: ZstdFrameSplitter,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    for (const part of splitter.push(chunk)) yield part.kind === "end" ? FRAME_END : part.bytes;
  }
}

async function* oneFrame(first: Uint8Array, parts: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  for (let piece = first; piece !== FRAME_END; ) {
    yield piece;
    const next = await parts.next();
    if (next.done) return;
    piece = next.value;
  }
}

async function* unpack(
  source: AsyncIterable<Uint8Array>,
  decoder: Transform,
  format: string,
): AsyncGenerator<Uint8Array> {
  // Errors of the source must come out as they are, those of the decoder are the archive's fault.
  let sourceError: unknown;
  const input = Readable.from(source, { objectMode: false, highWaterMark: CHUNK_BYTES });
  input.on("error", (error) => {
    sourceError = error;
    decoder.destroy(error);
  });
  try {
    yield* input.pipe(decoder);
  } catch (error) {
    if (sourceError !== undefined || error instanceof SandboxError) throw sourceError ?? error;
    throw damaged(format, (error as Error).message, error);
  } finally {
    input.destroy();
    decoder.destroy();
  }
}

function damaged(format: string, reason: string, cause?: unknown): SandboxError {
  return new SandboxError("invalid_argument", `the ${format} data is damaged: ${reason}`, {
    hint: "The file or the transfer is broken. Fetch it again.",
    cause,
  });
}
