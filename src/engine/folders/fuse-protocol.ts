/** The kernel's FUSE protocol as far as we speak it. Source: Linux, include/uapi/linux/fuse.h, version 7.31 and later. */

export const Opcode = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  readlink: 5,
  symlink: 6,
  mknod: 8,
  mkdir: 9,
  unlink: 10,
  rmdir: 11,
  rename: 12,
  link: 13,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  fsyncdir: 30,
  create: 35,
  destroy: 38,
  batchForget: 42,
  readdirplus: 44,
  rename2: 45,
} as const;

export const ROOT_ID = 1;
export const REQUEST_HEADER_BYTES = 40;
export const ANSWER_HEADER_BYTES = 16;
/** Data of one read or write. The agent's relay has the same number. */
export const MAX_DATA_BYTES = 128 * 1024;
/** A write with its headers. */
export const MAX_REQUEST_BYTES = MAX_DATA_BYTES + 4096;
/** A file's name, and a link's text with the names around it. */
export const MAX_NAME_BYTES = 255;
export const MAX_LINK_BYTES = 4095;

/** Fields of SETATTR that are to be set. */
export const SetAttr = {
  mode: 1 << 0,
  uid: 1 << 1,
  gid: 1 << 2,
  size: 1 << 3,
  atime: 1 << 4,
  mtime: 1 << 5,
  fh: 1 << 6,
  atimeNow: 1 << 7,
  mtimeNow: 1 << 8,
} as const;

const InitFlag = {
  asyncRead: 1 << 0,
  atomicTruncate: 1 << 3,
  bigWrites: 1 << 5,
  /** Cached data is dropped when a file's time or size has changed under it. */
  autoInvalidate: 1 << 12,
  /**
   * A directory is always read with what its files are. The kernel's own guess (READDIRPLUS_AUTO) takes the first page that way only,
   * where a program reads all names before it looks at the files, as Python's os.walk does.
   */
  doReaddirplus: 1 << 13,
  asyncDirect: 1 << 15,
  parallelLookups: 1 << 18,
  maxPages: 1 << 22,
} as const;

/** What we want of the kernel, if it can. Not among it: locks, which stay local to the guest. */
export const WANTED_FLAGS = Object.values(InitFlag).reduce((all, flag) => all | flag, 0);

export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  EBADF: 9,
  EACCES: 13,
  EEXIST: 17,
  EXDEV: 18,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EFBIG: 27,
  EROFS: 30,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  EOVERFLOW: 75,
  ESTALE: 116,
  EDQUOT: 122,
} as const;

/** What a request is answered with when it fails. */
export class FuseError extends Error {
  readonly errno: number;

  constructor(errno: number) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

/** The number that the guest is told of an error; of one of ours EIO. */
export function errnoOf(error: unknown): number {
  if (error instanceof FuseError) return error.errno;
  const errno = (error as NodeJS.ErrnoException).errno;
  return typeof errno === "number" && errno < 0 && errno > -4096 ? -errno : Errno.EIO;
}

export interface FuseRequest {
  opcode: number;
  /** As it came: it is only handed back. */
  unique: Buffer;
  node: number;
  body: Buffer;
  /** An earlier daemon may have done it, and died before it could answer. */
  repeated: boolean;
}
