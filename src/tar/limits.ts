/** What a stranger's archive may cost; passing one of these is `invalid_argument`, naming the entry. */

/** One PAX header or GNU long name, in bytes. Go's archive/tar has the same bound. */
export const MAX_EXTENDED_HEADER_BYTES = 1024 * 1024;
/** Pieces of one sparse file. */
export const MAX_SPARSE_EXTENTS = 262_144;
/** One file, in bytes: what ext4 can hold. */
export const MAX_FILE_BYTES = 16 * 2 ** 40 - 4096;
