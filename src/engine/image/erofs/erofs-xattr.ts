/**
 * Extended attributes as EROFS keeps them: behind the inode, the name's well-known prefix as a number.
 * Format: Linux, fs/erofs/erofs_fs.h, erofs_xattr_ibody_header and erofs_xattr_entry.
 */

import { type ByteString, toBytes } from "../../../tar/index.ts";

// EROFS_XATTR_INDEX_*. The two ACL attributes have no name beyond their prefix.
const PREFIXES: readonly (readonly [prefix: string, index: number, whole: boolean])[] = [
  ["user.", 1, false],
  ["system.posix_acl_access", 2, true],
  ["system.posix_acl_default", 3, true],
  ["trusted.", 4, false],
  ["security.", 6, false],
];

const HEADER_BYTES = 12;
const ENTRY_BYTES = 4;

/**
 * Whether an attribute means something to the guest. Others (macOS' `com.apple.*`, NFS ACLs) have no place in EROFS.
 * `trusted.overlay.*` is a language of overlayfs itself: below the guest's overlay it would redirect or hide files.
 */
export function isKnownXattr(name: ByteString): boolean {
  if (name.includes("\0") || name.startsWith("trusted.overlay.")) return false;
  return PREFIXES.some(
    ([prefix, , whole]) =>
      name.startsWith(prefix) &&
      (whole
        ? name.length === prefix.length
        : name.length > prefix.length && name.length - prefix.length <= 255),
  );
}

/** Bytes that the attributes take behind the inode; a multiple of 4, and 0 without any. */
export function xattrBytes(xattrs: Readonly<Record<ByteString, ByteString>> | undefined): number {
  let size = 0;
  for (const name in xattrs) size += entryBytes(suffixOf(name)[1].length, xattrs[name]!.length);
  return size === 0 ? 0 : HEADER_BYTES + size;
}

/** Writes the attributes at `at`; returns where they end. They must be known ones. */
export function writeXattrs(
  target: Buffer,
  at: number,
  xattrs: Readonly<Record<ByteString, ByteString>> | undefined,
): number {
  const names = Object.keys(xattrs ?? {}).sort();
  if (names.length === 0) return at;
  // The header is all zeros: no shared attributes. (Its name filter is heeded only with a feature that we do not set.)
  let end = at + HEADER_BYTES;
  for (const name of names) {
    const [index, suffix] = suffixOf(name);
    const value = toBytes(xattrs![name]!);
    target.writeUInt8(suffix.length, end);
    target.writeUInt8(index, end + 1);
    target.writeUInt16LE(value.length, end + 2);
    target.write(suffix, end + ENTRY_BYTES, "latin1");
    value.copy(target, end + ENTRY_BYTES + suffix.length);
    end += entryBytes(suffix.length, value.length);
  }
  return end;
}

function suffixOf(name: ByteString): [index: number, suffix: ByteString] {
  const [prefix, index] = PREFIXES.find(([prefix]) => name.startsWith(prefix))!;
  return [index, name.slice(prefix.length)];
}

function entryBytes(nameLength: number, valueLength: number): number {
  return Math.ceil((ENTRY_BYTES + nameLength + valueLength) / 4) * 4;
}
