/**
 * The index of a layer: one row for each entry of its tar, in order, as lines of JSON. With the blob beside it,
 * it is all that is kept of a layer.
 *
 * Rows are written while the tar streams by and read back one by one, so neither direction needs memory for the
 * whole. Byte strings are written as they are in memory: one character U+0000–U+00FF for each byte.
 */

import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { createInterface } from "node:readline";
import { z } from "zod";
import { SandboxError } from "../../../contract/errors.ts";
import { MAX_FILE_BYTES } from "../../../tar/index.ts";
import { type Digest, isDigest } from "../digest.ts";
import { MAX_NAME_BYTES, MAX_PATH_BYTES } from "../limits.ts";

/** Goes up when blob or index change their form; layers of another format are ingested again. */
export const LAYER_FORMAT = 2;

const bytes = (max: number) =>
  z
    .string()
    .max(max)
    .regex(/^[^\u0100-\uffff]*$/);
const path = bytes(MAX_PATH_BYTES).refine((value) => value.split("/").every(isName) || value === "");
const u32 = z.int().min(0).max(0xffff_ffff);
const id = z.int().min(0).max(0xffff_fffe); // 2^32-1 means "no one" to the kernel
const count = z
  .int()
  .min(0)
  .max(2 ** 44);

function isName(name: string): boolean {
  return (
    name !== "" && name !== "." && name !== ".." && name.length <= MAX_NAME_BYTES && !name.includes("\0")
  );
}

const attributes = {
  path,
  mode: z.int().min(0).max(0o7777),
  uid: id,
  gid: id,
  /** Seconds and nanoseconds. */
  mtime: z.tuple([z.int(), z.int().min(0).max(999_999_999)]),
  xattrs: z.record(bytes(300), bytes(65_535)).optional(),
};

/**
 * Where a file with holes keeps its data. The file is cut into chunks of 2^bits blocks; a run is that many chunks
 * from chunk `first` on, lying one after the other from `block` on. What no run covers is a hole.
 */
const chunks = z.object({
  bits: z.int().min(0).max(31),
  runs: z.array(z.tuple([count, count, count])),
});

const row = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("file"),
    ...attributes,
    size: z.int().min(0).max(MAX_FILE_BYTES),
    /** First 4 KiB block of the contents in the blob; for a file without holes that is not empty. */
    block: count.optional(),
    chunks: chunks.optional(),
  }),
  z.object({ type: z.literal("directory"), ...attributes }),
  z.object({ type: z.literal("symlink"), ...attributes, target: bytes(MAX_PATH_BYTES).min(1) }),
  z.object({ type: z.enum(["char", "block"]), ...attributes, device: z.tuple([u32, u32]) }),
  z.object({ type: z.enum(["fifo", "socket"]), ...attributes }),
  /** Another name for `target`, which may come from a layer below. */
  z.object({ type: z.literal("link"), path, target: path }),
  z.object({ type: z.literal("whiteout"), path }),
  z.object({ type: z.literal("opaque"), path }),
]);

export type LayerRow = z.infer<typeof row>;
export type LayerChunks = z.infer<typeof chunks>;
export type FileRow = Extract<LayerRow, { type: "file" }>;
/** A row that makes an inode. */
export type InodeRow = Exclude<LayerRow, { type: "link" | "whiteout" | "opaque" }>;

/** What is known of a layer that has been taken in. */
export interface LayerFacts {
  /** sha256 of the uncompressed tar: what OCI calls the layer's diff ID. */
  digest: Digest;
  /** Bytes of the uncompressed tar. */
  tarBytes: number;
  /** Bytes of the blob; a multiple of 4 KiB. */
  blobBytes: number;
  entries: number;
}

const byteCount = z.int().min(0);
const header = z.object({
  format: z.literal(LAYER_FORMAT),
  digest: z.custom<Digest>((value) => typeof value === "string" && isDigest(value)),
  tarBytes: byteCount,
  blobBytes: byteCount.multipleOf(4096),
  entries: byteCount,
});

/** The first line has a fixed length: it tells what is known only at the end. */
export const HEADER_BYTES = 256;

/** The first line of an index, padded with blanks. */
export function encodeIndexHeader({ digest, tarBytes, blobBytes, entries }: LayerFacts): string {
  const line = JSON.stringify({ format: LAYER_FORMAT, digest, tarBytes, blobBytes, entries });
  return `${line.padEnd(HEADER_BYTES - 1)}\n`;
}

/** The facts in the first line of an index file; undefined when there is no such file, or one of another format. */
export async function readFacts(path: string): Promise<LayerFacts | undefined> {
  try {
    await using file = await open(path, "r");
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    const { format: _format, ...facts } = header.parse(JSON.parse(buffer.toString("utf8", 0, bytesRead)));
    return facts;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}

export function encodeRow({ type, ...rest }: LayerRow): string {
  return `${JSON.stringify({ type, ...rest })}\n`;
}

/** Decodes and validates one line; `internal` when it is not what we write, since no one else writes it. */
export function decodeRow(line: string): LayerRow {
  return row.parse(JSON.parse(line));
}

/** Which rows of an index to read: the marks that hide what lies below, or all others. */
export type RowSelection = "marks" | "entries";

// Rows are told apart before they are parsed. `encodeRow` writes the type first.
const MARK = /^\{"type":"(whiteout|opaque)"/;

/**
 * The chosen rows of the index file of `layer`, in order.
 *
 * Errors: `not_found` when there is no such file, `internal` when it is damaged or of another format.
 */
export async function* readIndex(
  file: string,
  layer: string,
  selection: RowSelection,
): AsyncGenerator<LayerRow> {
  const stream = createReadStream(file, { highWaterMark: 256 * 1024 });
  const lines = createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY });
  let number = 0;
  let ended = false;
  try {
    for await (const line of lines) {
      number++;
      if (number === 1) {
        if (header.parse(JSON.parse(line)).digest !== layer) throw new Error("it belongs to another layer");
      } else if (line === END_LINE) {
        ended = true;
      } else if (MARK.test(line) === (selection === "marks")) {
        yield decodeRow(line);
      }
    }
    if (!ended) throw new Error("its end is missing");
  } catch (error) {
    if (error instanceof SandboxError) throw error;
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      throw new SandboxError("not_found", `layer ${layer} is not in the store`, { cause: error });
    }
    throw new SandboxError("internal", `the index of layer ${layer} is damaged at line ${number}`, {
      hint: "Remove the images that use this layer, and import or pull them again.",
      cause: error,
    });
  } finally {
    lines.close();
    stream.destroy();
  }
}

/** The last line: an index without it is cut off. */
export const END_LINE = '"end"';
