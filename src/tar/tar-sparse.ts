/**
 * Maps of sparse files: which parts of a file the archive holds, in four encodings.
 * Formats: GNU tar's manual, "Storing Sparse Files": the old header (typeflag `S`), and PAX 0.0, 0.1 and 1.0.
 *
 * Every map is bounded in length (MAX_SPARSE_EXTENTS), must be in ascending order without overlap, lie within the
 * file, and hold exactly the bytes that the archive stores.
 */

import type { ByteReader } from "./byte-reader.ts";
import { MAX_SPARSE_EXTENTS } from "./limits.ts";
import { BLOCK_BYTES, malformed, parseNumber } from "./tar-fields.ts";
import { type PaxRecord, paxInteger } from "./tar-pax.ts";

/** A part of a file that is stored; all between the parts reads as zeros. Bytes. */
export interface SparseExtent {
  offset: number;
  length: number;
}

/** The map of an old GNU header: four pairs in the header, 21 in each block that follows. */
export async function readGnuSparse(
  header: Buffer,
  reader: ByteReader,
  where: string,
): Promise<{ size: number; extents: SparseExtent[] }> {
  const size = parseNumber(header, 483, 12, "size", where);
  const extents: SparseExtent[] = [];
  const take = (block: Buffer, at: number, pairs: number) => {
    for (let i = 0; i < pairs; i++, at += 24) {
      if (block[at] === 0) return; // an unused pair
      push(
        extents,
        parseNumber(block, at, 12, "offset", where),
        parseNumber(block, at + 12, 12, "size", where),
        where,
      );
    }
  };
  take(header, 386, 4);
  let more = header[482] !== 0;
  while (more) {
    const block = await reader.read(BLOCK_BYTES);
    more = block[504] !== 0;
    take(block, 0, 21);
    if (more && block[0] === 0) throw malformed("its sparse map goes on after its end", where);
  }
  return { size, extents };
}

/** The map of PAX 0.0 (repeated keys) or 0.1 (one list), or undefined if the records hold none. */
export function paxSparseMap(records: readonly PaxRecord[], where: string): SparseExtent[] | undefined {
  const extents: SparseExtent[] = [];
  let found = false;
  let offset: number | undefined;
  for (const [key, value] of records) {
    if (key === "GNU.sparse.map") {
      found = true;
      extents.length = 0;
      const numbers = value === "" ? [] : value.split(",");
      if (numbers.length % 2 !== 0) throw malformed("its sparse map is incomplete", where);
      for (let i = 0; i < numbers.length; i += 2) {
        push(extents, paxInteger(numbers[i]!, key, where), paxInteger(numbers[i + 1]!, key, where), where);
      }
    } else if (key === "GNU.sparse.offset") {
      found = true;
      offset = paxInteger(value, key, where);
    } else if (key === "GNU.sparse.numbytes") {
      if (offset === undefined) throw malformed("its sparse map is incomplete", where);
      push(extents, offset, paxInteger(value, key, where), where);
      offset = undefined;
    }
  }
  return found ? extents : undefined;
}

/**
 * The map of PAX 1.0, which stands before the data: decimal lines, first the number of pairs, padded to a block.
 * `stored` is the entry's size in the archive; what the map takes of it is returned as `mapBytes`.
 */
export async function readPaxSparse10(
  reader: ByteReader,
  stored: number,
  where: string,
): Promise<{ extents: SparseExtent[]; mapBytes: number }> {
  let mapBytes = 0;
  let digits = "";
  const numbers: number[] = [];
  let wanted = 1;
  while (numbers.length < wanted) {
    if (mapBytes + BLOCK_BYTES > stored) throw malformed("its sparse map is longer than the entry", where);
    const block = await reader.read(BLOCK_BYTES);
    mapBytes += BLOCK_BYTES;
    for (let i = 0; i < BLOCK_BYTES && numbers.length < wanted; i++) {
      if (block[i] !== 0x0a) {
        digits += String.fromCharCode(block[i]!);
        if (digits.length > 16) throw malformed("its sparse map is not made of numbers", where);
        continue;
      }
      numbers.push(paxInteger(digits, "sparse map", where));
      digits = "";
      if (numbers.length === 1) {
        if (numbers[0]! > MAX_SPARSE_EXTENTS) throw tooMany(where);
        wanted = 1 + 2 * numbers[0]!;
      }
    }
  }
  const extents: SparseExtent[] = [];
  for (let i = 1; i < numbers.length; i += 2) push(extents, numbers[i]!, numbers[i + 1]!, where);
  return { extents, mapBytes };
}

function push(extents: SparseExtent[], offset: number, length: number, where: string): void {
  if (extents.length >= MAX_SPARSE_EXTENTS) throw tooMany(where);
  extents.push({ offset, length });
}

function tooMany(where: string) {
  return malformed(`its sparse map has more than ${MAX_SPARSE_EXTENTS} pieces`, where);
}

/** The extents without empty ones, if they are a sound map of a file of `size` bytes with `stored` bytes of data. */
export function checkSparse(
  extents: readonly SparseExtent[],
  size: number,
  stored: number,
  where: string,
): SparseExtent[] {
  let end = 0;
  let total = 0;
  const kept: SparseExtent[] = [];
  for (const extent of extents) {
    if (extent.offset < end || extent.length < 0 || extent.offset + extent.length > size) {
      throw malformed("its sparse map is out of order or leaves the file", where);
    }
    end = extent.offset + extent.length;
    total += extent.length;
    if (extent.length > 0) kept.push(extent);
  }
  if (total !== stored) throw malformed("its sparse map does not fit its data", where);
  return kept;
}
