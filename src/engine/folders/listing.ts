import { type Dir, type Dirent, opendirSync } from "node:fs";
import { opened } from "./answers.ts";
import { Errno, FuseError, MAX_DATA_BYTES } from "./fuse-protocol.ts";
import type { Handle } from "./handles.ts";
import { itself } from "./inside.ts";
import type { Node } from "./nodes.ts";
import type { RequestBody } from "./request-body.ts";
import { type FolderState, withNode } from "./state.ts";

/**
 * What is in a directory, in pages. It is read once for each that opens it, when it begins to be read: what comes and goes
 * meanwhile is in it or not, as POSIX has it.
 */

/** Of one directory. */
const MAX_ENTRIES = 100_000;
/** In the listings that are open in one folder. */
export const MAX_LISTED_BYTES = 32 * 1024 * 1024;
const ENTRIES_PER_READ = 256;

/** The kernel asks for a file's number when it needs one. */
const UNKNOWN_INODE = 0xffffffffn;
const TYPES = { directory: 4, file: 8, link: 10, fifo: 1, socket: 12, character: 2, block: 6 };

export class Listings {
  #bytes = 0;
  readonly #sizes = new Map<Handle, number>();

  open(state: FolderState, node: Node): Buffer {
    state.handles.reserve();
    withNode(state, node, (_, stat) => {
      if (!stat.isDirectory()) throw new FuseError(Errno.ENOTDIR);
    });
    return opened(state.handles.add(node, -1).number);
  }

  /** @param cut makes the answer of what the directory holds */
  async read(state: FolderState, node: Node, body: RequestBody, cut: Cut): Promise<Buffer> {
    const number = body.u64();
    const offset = body.u64();
    const size = Math.min(body.u32(), MAX_DATA_BYTES);
    const handle = state.handles.find(number) ?? state.handles.restore(number, node, -1);
    if (handle.node !== node || handle.fd >= 0) throw new FuseError(Errno.EBADF);
    return state.handles.use(handle, async () => {
      if (offset === 0) this.#forget(handle);
      if (handle.listing === undefined) await this.#fill(state, handle);
      return cut(state, node, handle.listing!, offset, size);
    });
  }

  release(state: FolderState, number: number): undefined {
    const handle = state.handles.find(number);
    if (handle !== undefined) this.#forget(handle);
    state.handles.release(number);
  }

  #forget(handle: Handle): void {
    this.#bytes -= this.#sizes.get(handle) ?? 0;
    this.#sizes.delete(handle);
    delete handle.listing;
  }

  async #fill(state: FolderState, handle: Handle): Promise<void> {
    // Opened by what it is and not by its name; the names come as bytes.
    const options = { encoding: "buffer" as BufferEncoding, bufferSize: ENTRIES_PER_READ };
    const directory: Dir = withNode(state, handle.node, (file) => opendirSync(itself(file), options));
    const listing: Buffer[] = [
      record(Buffer.from("."), TYPES.directory),
      record(Buffer.from(".."), TYPES.directory),
    ];
    let bytes = 0;
    try {
      for (let next = await directory.read(); next !== null; next = await directory.read()) {
        const item = record(next.name as unknown as Buffer, typeOf(next));
        bytes += item.length + 64;
        if (listing.length >= MAX_ENTRIES || this.#bytes + bytes > MAX_LISTED_BYTES)
          throw new FuseError(Errno.EOVERFLOW);
        listing.push(item);
      }
    } finally {
      await directory.close();
    }
    // The guest may have closed it, or read it twice at once.
    if (handle.released || handle.listing !== undefined) {
      handle.listing ??= listing;
      return;
    }
    handle.listing = listing;
    this.#sizes.set(handle, bytes);
    this.#bytes += bytes;
  }
}

/** As `fuse_dirent`, without its offset, padded to 8 bytes. */
function record(name: Buffer, type: number): Buffer {
  const bytes = Buffer.alloc((24 + name.length + 7) & ~7);
  bytes.writeBigUInt64LE(UNKNOWN_INODE, 0);
  bytes.writeUInt32LE(name.length, 16);
  bytes.writeUInt32LE(type, 20);
  name.copy(bytes, 24);
  return bytes;
}

/** The name in a record. */
export function recordName(item: Buffer): Buffer {
  return item.subarray(24, 24 + item.readUInt32LE(16));
}

/** As much of a listing, from an offset on, as an answer of this size holds. */
type Cut = (state: FolderState, node: Node, listing: Buffer[], offset: number, size: number) => Buffer;

/** A page of names. */
export const page: Cut = (_state, _node, listing, offset, size) => {
  const records: Buffer[] = [];
  let length = 0;
  for (let i = offset; i < listing.length; i++) {
    const item = listing[i]!;
    if (length + item.length > size) break;
    item.writeBigUInt64LE(BigInt(i + 1), 8);
    records.push(item);
    length += item.length;
  }
  return Buffer.concat(records, length);
};

function typeOf(entry: Dirent): number {
  if (entry.isDirectory()) return TYPES.directory;
  if (entry.isFile()) return TYPES.file;
  if (entry.isSymbolicLink()) return TYPES.link;
  if (entry.isFIFO()) return TYPES.fifo;
  if (entry.isSocket()) return TYPES.socket;
  if (entry.isCharacterDevice()) return TYPES.character;
  return entry.isBlockDevice() ? TYPES.block : 0;
}
