/**
 * The text of a VMDK descriptor that joins several files into one read-only block device.
 *
 * Only the flat-extent form is made: `RW <sectors> FLAT "<file>" <offset>`, under the create type
 * `twoGbMaxExtentFlat`. Despite that name QEMU takes extents of any size; what it does bound is read off
 * block/vmdk.c: the descriptor is read up to 1 MiB, the CID must stand in its first 10 KiB, a file name has
 * at most 511 bytes, ends at a quote or a line end, and is resolved beside the descriptor.
 */

import { SandboxError } from "../../contract/errors.ts";

/** One file of the joined device. */
export interface FlatExtent {
  /** File name, relative to the descriptor's folder. */
  file: string;
  /** Size in bytes; a multiple of 512. Files of 0 bytes are left out, QEMU would ignore their lines. */
  sizeBytes: number;
}

/** Writes the descriptor that joins `extents` in order. Another format would be another such function. */
export type DiskDescriptorWriter = (extents: readonly FlatExtent[]) => string;

const SECTOR_BYTES = 512;
// VMDK_EXTENT_MAX_SECTORS in block/vmdk.c. QEMU checks it for sparse extents only, so far; longer files
// become several lines, each at its own offset, and the limit never matters.
const MAX_EXTENT_SECTORS = 2 ** 32;
const MAX_DESCRIPTOR_BYTES = 1024 * 1024 - 1;

/**
 * The descriptor's text. The same extents give the same text.
 *
 * Errors: `invalid_argument` for a size that is no multiple of 512, a name that the format cannot hold, or
 * more extents than a descriptor can list.
 */
export const vmdkDescriptor: DiskDescriptorWriter = (extents) => {
  const lines: string[] = [];
  for (const { file, sizeBytes } of extents) {
    checkExtent(file, sizeBytes);
    const sectors = sizeBytes / SECTOR_BYTES;
    for (let at = 0; at < sectors; at += MAX_EXTENT_SECTORS) {
      lines.push(`RW ${Math.min(MAX_EXTENT_SECTORS, sectors - at)} FLAT "${file}" ${at}`);
    }
  }
  const text = [
    "# Disk DescriptorFile",
    "version=1",
    // QEMU wants both identifiers and compares them only when a VMDK has a parent, which ours never has.
    "CID=fffffffe",
    "parentCID=ffffffff",
    'createType="twoGbMaxExtentFlat"',
    "",
    "# Extent description",
    ...lines,
    "",
  ].join("\n");
  if (lines.length === 0 || Buffer.byteLength(text) > MAX_DESCRIPTOR_BYTES) {
    throw new SandboxError(
      "invalid_argument",
      lines.length === 0
        ? "a joined disk needs at least one file that is not empty"
        : `a joined disk of ${lines.length} extents does not fit into a VMDK descriptor`,
    );
  }
  return text;
};

function checkExtent(file: string, sizeBytes: number): void {
  const nameFits = /^[A-Za-z0-9._-]+$/.test(file) && file.length <= 255;
  if (!nameFits || file === "." || file === "..") {
    throw new SandboxError(
      "invalid_argument",
      `${JSON.stringify(file)} cannot be an extent of a joined disk`,
      {
        hint: "Extents are plain file names of letters, digits, dots, dashes and underscores.",
      },
    );
  }
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || sizeBytes % SECTOR_BYTES !== 0) {
    throw new SandboxError(
      "invalid_argument",
      `${file} has ${sizeBytes} bytes, which is no whole number of sectors`,
    );
  }
}
