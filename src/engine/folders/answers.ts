import type { BigIntStats, StatsFs } from "node:fs";
import { ANSWER_HEADER_BYTES, MAX_DATA_BYTES, WANTED_FLAGS } from "./fuse-protocol.ts";
import type { Node } from "./nodes.ts";

/** What we answer the guest's kernel with. */

/**
 * How long the kernel may believe what it was told of a name and of a file. Within it a change that is made on the host
 * may not be seen; what the guest itself does it knows. Names that are not there are not remembered.
 */
export const CACHE_SECONDS = 1;

const TRAILER = 0xa5;
const ATTRIBUTES_BYTES = 88;
/** What tells of an entry: `fuse_entry_out`. */
export const ENTRY_BYTES = 40 + ATTRIBUTES_BYTES;
/** Permissions and the sticky bit. Set-uid and set-gid neither go to the host nor come from there. */
export const PERMISSIONS = 0o1777;
const TYPE = 0o170000;

/** An answer as the relay takes it. `errno` 0: it has succeeded. */
export function answer(unique: Buffer, errno: number, body?: Buffer): Buffer {
  const length = ANSWER_HEADER_BYTES + (body?.length ?? 0);
  const bytes = Buffer.allocUnsafe(length + 1);
  bytes.writeUInt32LE(length, 0);
  bytes.writeInt32LE(-errno, 4);
  unique.copy(bytes, 8);
  body?.copy(bytes, ANSWER_HEADER_BYTES);
  bytes[length] = TRAILER;
  return bytes;
}

export interface Owner {
  uid: number;
  gid: number;
}

function writeAttributes(out: Buffer, at: number, stat: BigIntStats, owner: Owner): void {
  const mode = Number(stat.mode);
  out.writeBigUInt64LE(stat.ino, at);
  out.writeBigUInt64LE(stat.size, at + 8);
  out.writeBigUInt64LE(stat.blocks, at + 16);
  for (const [i, ns] of [stat.atimeNs, stat.mtimeNs, stat.ctimeNs].entries()) {
    const part = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    out.writeBigInt64LE((ns - part) / 1_000_000_000n, at + 24 + 8 * i);
    out.writeUInt32LE(Number(part), at + 48 + 4 * i);
  }
  out.writeUInt32LE((mode & TYPE) | (mode & PERMISSIONS), at + 60);
  out.writeUInt32LE(Number(stat.nlink), at + 64);
  out.writeUInt32LE(owner.uid, at + 68);
  out.writeUInt32LE(owner.gid, at + 72);
  // Devices of the host are none of the guest's.
  out.writeUInt32LE(0, at + 76);
  out.writeUInt32LE(4096, at + 80);
}

export function attributes(stat: BigIntStats, owner: Owner): Buffer {
  const out = Buffer.alloc(16 + ATTRIBUTES_BYTES);
  out.writeBigUInt64LE(BigInt(CACHE_SECONDS), 0);
  writeAttributes(out, 16, stat, owner);
  return out;
}

export function entryOf(node: Node, stat: BigIntStats, owner: Owner): Buffer {
  const out = Buffer.alloc(ENTRY_BYTES);
  out.writeBigUInt64LE(BigInt(node.id), 0);
  out.writeBigUInt64LE(BigInt(CACHE_SECONDS), 16);
  out.writeBigUInt64LE(BigInt(CACHE_SECONDS), 24);
  writeAttributes(out, 40, stat, owner);
  return out;
}

export function opened(handle: number): Buffer {
  const out = Buffer.alloc(16);
  out.writeBigUInt64LE(BigInt(handle), 0);
  return out;
}

/** What we are, in answer to what the kernel is. */
export function initAnswer(minor: number, flags: number, readAhead: number): Buffer {
  const out = Buffer.alloc(64);
  out.writeUInt32LE(7, 0);
  out.writeUInt32LE(Math.min(minor, 31), 4);
  out.writeUInt32LE(Math.min(readAhead, MAX_DATA_BYTES), 8);
  out.writeUInt32LE((flags & WANTED_FLAGS) >>> 0, 12);
  out.writeUInt16LE(16, 16); // requests in the background
  out.writeUInt16LE(12, 18); // of these before it calls us congested
  out.writeUInt32LE(MAX_DATA_BYTES, 20);
  out.writeUInt32LE(1, 24); // times in nanoseconds
  out.writeUInt16LE(MAX_DATA_BYTES / 4096, 28);
  return out;
}

/** `left`: bytes of the quota that are left. */
export function statfsAnswer(stat: StatsFs, left: number): Buffer {
  const out = Buffer.alloc(80);
  const { bsize, blocks, files, ffree } = stat;
  const leftBlocks = Math.floor(left / bsize);
  const numbers = [blocks, Math.min(stat.bfree, leftBlocks), Math.min(stat.bavail, leftBlocks), files, ffree];
  for (const [i, n] of numbers.entries()) out.writeBigUInt64LE(BigInt(Math.max(0, n)), 8 * i);
  out.writeUInt32LE(bsize, 40);
  out.writeUInt32LE(255, 44);
  out.writeUInt32LE(bsize, 48);
  return out;
}

export function u32Pair(value: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeUInt32LE(value, 0);
  return out;
}
