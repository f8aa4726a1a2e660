/**
 * Reads an EROFS device, for tests. Written against the format (fs/erofs/erofs_fs.h) and not against our writer, and as
 * strict as the kernel: names are found by binary search, chunks and inline tails by the kernel's rules.
 */

import assert from "node:assert";
import type { ByteString } from "../../../tar/byte-string.ts";

const BLOCK = 4096;

export interface ReadInode {
  nid: number;
  mode: number;
  size: number;
  uid: number;
  gid: number;
  mtime: [number, number];
  links: number;
  /** Device number, format or address, as it stands there. */
  location: number;
  xattrs: Record<ByteString, ByteString>;
}

const PREFIXES: Record<number, string> = {
  1: "user.",
  2: "system.posix_acl_access",
  3: "system.posix_acl_default",
  4: "trusted.",
  6: "security.",
};

/** `read(offset, length)` gives bytes of the joined device. */
export class ErofsReader {
  readonly #read: (offset: number, length: number) => Buffer;
  /** Of the image. */
  readonly root: ReadInode;
  /** Of the file system, which holds nothing but the image's. */
  readonly #top: ReadInode;
  readonly inodeCount: number;
  readonly uuid: string;

  constructor(read: (offset: number, length: number) => Buffer) {
    this.#read = read;
    const block = Buffer.from(read(0, BLOCK));
    assert.equal(block.readUInt32LE(1024), 0xe0f5e1e2);
    const checksum = block.readUInt32LE(1024 + 4);
    block.writeUInt32LE(0, 1024 + 4);
    assert.equal(crc32cBitwise(block.subarray(1024)), checksum, "superblock checksum");
    assert.equal(block[1024 + 12], 12);
    assert.equal(block.readUInt32LE(1024 + 80) & ~4, 0, "only the feature for chunks");
    this.inodeCount = Number(block.readBigUInt64LE(1024 + 16));
    this.uuid = block.toString("hex", 1024 + 48, 1024 + 64);
    const top = this.inode(block.readUInt16LE(1024 + 14));
    const names = this.names(top);
    assert.deepEqual(
      names.map(({ name }) => name),
      [".", "..", "image"],
    );
    assert.ok(names.slice(0, 2).every(({ nid }) => nid === top.nid));
    this.#top = top;
    this.root = this.inode(names[2]!.nid);
  }

  inode(nid: number): ReadInode {
    const at = nid * 32;
    assert.ok((at % BLOCK) + 64 <= BLOCK);
    const raw = this.#read(at, 64);
    assert.equal(raw.readUInt16LE(0) & 1, 1, "extended inode");
    return {
      nid,
      mode: raw.readUInt16LE(4),
      size: Number(raw.readBigUInt64LE(8)),
      location: raw.readUInt32LE(16),
      uid: raw.readUInt32LE(24),
      gid: raw.readUInt32LE(28),
      mtime: [Number(raw.readBigInt64LE(32)), raw.readUInt32LE(40)],
      links: raw.readUInt32LE(44),
      xattrs: this.#xattrs(nid),
    };
  }

  #xattrBytes(nid: number): number {
    const count = this.#read(nid * 32 + 2, 2).readUInt16LE(0);
    return count === 0 ? 0 : 12 + 4 * (count - 1);
  }

  #xattrs(nid: number): Record<ByteString, ByteString> {
    const size = this.#xattrBytes(nid);
    if (size === 0) return {};
    assert.ok(size > 12, "a header alone is an error to the kernel");
    const raw = this.#read(nid * 32 + 64, size);
    assert.equal(raw[4], 0, "no shared attributes");
    const found: Record<ByteString, ByteString> = {};
    for (let at = 12; at < size; ) {
      const nameEnd = at + 4 + raw[at]!;
      const end = nameEnd + raw.readUInt16LE(at + 2);
      const name = PREFIXES[raw[at + 1]!]! + raw.toString("latin1", at + 4, nameEnd);
      found[name] = raw.toString("latin1", nameEnd, end);
      at = Math.ceil(end / 4) * 4;
    }
    return found;
  }

  /** The bytes from `offset` on; holes read as zeros. */
  content(inode: ReadInode, offset = 0, length = inode.size): Buffer {
    const layout = (this.#read(inode.nid * 32, 2).readUInt16LE(0) >> 1) & 7;
    const behind = inode.nid * 32 + 64 + this.#xattrBytes(inode.nid);
    const parts: Buffer[] = [];
    for (let at = offset; at < offset + length; ) {
      let chunk = BLOCK;
      let source: number | undefined;
      if (layout === 0) {
        source = inode.location * BLOCK + at;
      } else if (layout === 2) {
        const lastBlock = Math.ceil(inode.size / BLOCK) - 1;
        if (at < lastBlock * BLOCK) source = inode.location * BLOCK + at;
        else {
          source = behind + (at % BLOCK);
          assert.ok((behind % BLOCK) + (inode.size % BLOCK) <= BLOCK, "inline data crosses a block");
        }
      } else {
        assert.equal(layout, 4);
        assert.ok(inode.location <= 31, "plain block addresses");
        chunk = BLOCK * 2 ** inode.location;
        const address = this.#read(behind + 4 * Math.floor(at / chunk), 4).readUInt32LE(0);
        source = address === 0xffffffff ? undefined : address * BLOCK + (at % chunk);
      }
      const part = Math.min(chunk - (at % chunk), offset + length - at);
      parts.push(source === undefined ? Buffer.alloc(part) : this.#read(source, part));
      at += part;
    }
    return Buffer.concat(parts);
  }

  /** All names of a directory, in the order on disk, with their inode numbers and types. */
  names(directory: ReadInode): { name: ByteString; nid: number; type: number }[] {
    const found: { name: ByteString; nid: number; type: number }[] = [];
    for (let start = 0; start < directory.size; start += BLOCK) {
      const block = this.content(directory, start, Math.min(BLOCK, directory.size - start));
      found.push(...direntsOf(block));
    }
    return found;
  }

  /** Looks a name up as fs/erofs/namei.c does: the block by its first name, then the name in it. */
  lookup(directory: ReadInode, name: ByteString): ReadInode | undefined {
    let [low, high] = [0, Math.ceil(directory.size / BLOCK) - 1];
    let candidate: { name: ByteString; nid: number }[] = [];
    while (low <= high) {
      const middle = (low + high) >> 1;
      const start = middle * BLOCK;
      const dirents = direntsOf(this.content(directory, start, Math.min(BLOCK, directory.size - start)));
      if (dirents[0]!.name <= name) {
        candidate = dirents;
        low = middle + 1;
      } else {
        high = middle - 1;
      }
    }
    [low, high] = [0, candidate.length - 1];
    while (low <= high) {
      const middle = (low + high) >> 1;
      const here = candidate[middle]!;
      if (here.name === name) return this.inode(here.nid);
      if (here.name < name) low = middle + 1;
      else high = middle - 1;
    }
    return undefined;
  }

  /** The inode at a path, not through symbolic links. */
  at(path: ByteString): ReadInode | undefined {
    let inode: ReadInode | undefined = this.root;
    for (const name of path.split("/").filter((part) => part !== "")) {
      if (inode === undefined || (inode.mode & 0o170000) !== 0o040000) return undefined;
      inode = this.lookup(inode, name);
    }
    return inode;
  }

  /** Every path below the root but the root itself, with its inode. */
  walk(): Map<ByteString, ReadInode> {
    const found = new Map<ByteString, ReadInode>();
    const pending: { path: ByteString; directory: ReadInode; parent: ReadInode }[] = [
      { path: "", directory: this.root, parent: this.#top },
    ];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const names = this.names(next.directory);
      assert.deepEqual(
        names.map(({ name }) => name),
        names.map(({ name }) => name).sort(),
        "sorted by bytes",
      );
      for (const { name, nid } of names) {
        if (name === ".") assert.equal(nid, next.directory.nid);
        else if (name === "..") assert.equal(nid, next.parent.nid);
        else {
          const inode = this.lookup(next.directory, name);
          assert.equal(inode?.nid, nid, `binary search finds ${JSON.stringify(name)}`);
          const path = next.path === "" ? name : `${next.path}/${name}`;
          found.set(path, inode!);
          if ((inode!.mode & 0o170000) === 0o040000) {
            pending.push({ path, directory: inode!, parent: next.directory });
          }
        }
      }
    }
    return found;
  }
}

function direntsOf(block: Buffer): { name: ByteString; nid: number; type: number }[] {
  const count = block.readUInt16LE(8) / 12;
  return Array.from({ length: count }, (_, i) => {
    const start = block.readUInt16LE(i * 12 + 8);
    let end = i + 1 < count ? block.readUInt16LE((i + 1) * 12 + 8) : block.indexOf(0, start);
    if (end === -1) end = block.length;
    assert.ok(end - start <= 255 && end > start);
    return {
      name: block.toString("latin1", start, end),
      nid: Number(block.readBigUInt64LE(i * 12)),
      type: block[i * 12 + 10]!,
    };
  });
}

function crc32cBitwise(data: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return crc >>> 0;
}
