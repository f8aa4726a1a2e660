import {
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fdatasync as fdatasyncCallback,
  fstatSync,
  fsync as fsyncCallback,
  ftruncateSync,
  openSync,
  read as readCallback,
  statfsSync,
  utimesSync,
  write as writeCallback,
} from "node:fs";
import { promisify } from "node:util";
import { attributes, opened, PERMISSIONS, statfsAnswer, u32Pair } from "./answers.ts";
import { Errno, errnoOf, FuseError, MAX_DATA_BYTES, SetAttr } from "./fuse-protocol.ts";
import type { Handle } from "./handles.ts";
import { itself } from "./inside.ts";
import type { Node } from "./nodes.ts";
import type { RequestBody } from "./request-body.ts";
import { assertWritable, type FolderState, withNode } from "./state.ts";

/** What is done to files: their attributes and their contents. */

const read = promisify(readCallback);
const write = promisify(writeCallback);
const fsync = promisify(fsyncCallback);
const fdatasync = promisify(fdatasyncCallback);

const SET_ID_BITS = 0o6000;
const DATA_ONLY = 1;
const { O_RDONLY, O_WRONLY, O_RDWR, O_TRUNC, O_NONBLOCK, O_NOCTTY } = constants;
const ACCESS = O_RDONLY | O_WRONLY | O_RDWR;

/** By a name, or, once that is gone, by an open handle. */
function statOf(state: FolderState, node: Node): BigIntStats {
  const open = state.handles.of(node);
  if (node.parent === undefined && open !== undefined) return fstatSync(open.fd, { bigint: true });
  return withNode(state, node, (_, stat) => stat);
}

export function getattr(state: FolderState, node: Node): Buffer {
  return attributes(statOf(state, node), state.owner);
}

export function setattr(state: FolderState, node: Node, body: RequestBody): Buffer {
  const valid = body.u32();
  body.skip(4);
  const number = body.u64();
  const size = body.u64();
  body.skip(8);
  const times = { atime: body.i64(), mtime: body.i64() };
  body.skip(8);
  const atime = times.atime + body.u32() / 1e9;
  const mtime = times.mtime + body.u32() / 1e9;
  body.skip(4);
  const mode = body.u32();
  body.skip(4);
  const owner = { uid: body.u32(), gid: body.u32() };
  assertWritable(state);
  // On the host everything stays the daemon's: the only owner that a file can be given is the one that it shows.
  if (valid & SetAttr.uid && owner.uid !== state.owner.uid) throw new FuseError(Errno.EPERM);
  if (valid & SetAttr.gid && owner.gid !== state.owner.gid) throw new FuseError(Errno.EPERM);
  if (valid & SetAttr.size) {
    const handle = valid & SetAttr.fh ? state.handles.find(number) : undefined;
    if (handle !== undefined && handle.node === node && handle.fd >= 0) ftruncateSync(handle.fd, size);
    else truncate(state, node, size);
  }
  const open = node.parent === undefined ? state.handles.of(node) : undefined;
  const change = (file: number, stat: BigIntStats) => {
    // A link's mode means nothing, and cannot be set.
    if (valid & SetAttr.mode && !stat.isSymbolicLink()) chmodSync(itself(file), mode & PERMISSIONS);
    if (valid & (SetAttr.atime | SetAttr.mtime)) {
      const now = Date.now() / 1000;
      const of = (set: number, toNow: number, value: number, kept: bigint) => {
        if ((valid & set) === 0) return Number(kept) / 1e9;
        return valid & toNow ? now : value;
      };
      utimesSync(
        itself(file),
        of(SetAttr.atime, SetAttr.atimeNow, atime, stat.atimeNs),
        of(SetAttr.mtime, SetAttr.mtimeNow, mtime, stat.mtimeNs),
      );
    }
    return attributes(fstatSync(file, { bigint: true }), state.owner);
  };
  if (open !== undefined) return change(open.fd, fstatSync(open.fd, { bigint: true }));
  return withNode(state, node, change);
}

function truncate(state: FolderState, node: Node, size: number): void {
  const open = state.handles.of(node);
  if (node.parent === undefined && open !== undefined) {
    ftruncateSync(open.fd, size);
    return;
  }
  const fd = openNode(state, node, O_WRONLY);
  try {
    ftruncateSync(fd, size);
  } finally {
    closeSync(fd);
  }
}

export function open(state: FolderState, node: Node, body: RequestBody): Buffer {
  return opened(openFile(state, node, body.u32()));
}

/** Opens a node's file as the guest's flags ask for. @returns the handle's number */
export function openFile(state: FolderState, node: Node, flags: number): number {
  const writes = (flags & ACCESS) !== O_RDONLY || (flags & O_TRUNC) !== 0;
  if (writes) assertWritable(state);
  state.handles.reserve();
  const fd = openNode(state, node, writes ? O_RDWR : O_RDONLY);
  try {
    if (flags & O_TRUNC) ftruncateSync(fd, 0);
    return state.handles.add(node, fd).number;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * Opens a regular file. What it is was seen before it is opened, of the same file: to open a device or a FIFO of the host
 * would already do something. A program that a guest may write to must not run as another user on the host.
 */
function openNode(state: FolderState, node: Node, access: number): number {
  return withNode(state, node, (file, stat) => {
    if (stat.isDirectory()) throw new FuseError(Errno.EISDIR);
    if (!stat.isFile()) throw new FuseError(Errno.EACCES);
    const how = (mode: number) => openSync(itself(file), mode | O_NONBLOCK | O_NOCTTY);
    let fd: number;
    try {
      fd = how(access);
    } catch (error) {
      // A file that may be written and not read.
      if (access !== O_RDWR || errnoOf(error) !== Errno.EACCES) throw error;
      fd = how(O_WRONLY);
    }
    if (access !== O_RDONLY && Number(stat.mode) & SET_ID_BITS)
      fchmodSync(fd, Number(stat.mode) & PERMISSIONS);
    return fd;
  });
}

/** The open file of a number; of one that an earlier daemon gave, the node's file is opened again. */
function handleOf(state: FolderState, node: Node, number: number, writes: boolean): Handle {
  const handle = state.handles.find(number);
  if (handle !== undefined) {
    if (handle.node !== node || handle.fd < 0) throw new FuseError(Errno.EBADF);
    return handle;
  }
  let fd: number;
  try {
    fd = openNode(state, node, state.readOnly ? O_RDONLY : O_RDWR);
  } catch (error) {
    if (writes) throw error;
    fd = openNode(state, node, O_RDONLY);
  }
  try {
    return state.handles.restore(number, node, fd);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

export async function readFile(state: FolderState, node: Node, body: RequestBody): Promise<Buffer> {
  const number = body.u64();
  const offset = body.u64();
  const size = Math.min(body.u32(), MAX_DATA_BYTES);
  const handle = handleOf(state, node, number, false);
  return state.handles.use(handle, async (fd) => {
    const buffer = Buffer.allocUnsafe(size);
    let filled = 0;
    while (filled < size) {
      const { bytesRead } = await read(fd, buffer, filled, size - filled, offset + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return buffer.subarray(0, filled);
  });
}

export async function writeFile(state: FolderState, node: Node, body: RequestBody): Promise<Buffer> {
  const number = body.u64();
  const offset = body.u64();
  const size = body.u32();
  body.skip(20);
  const data = body.bytes(size);
  assertWritable(state);
  const handle = handleOf(state, node, number, true);
  state.quota.take(size);
  return state.handles.use(handle, async (fd) => {
    let taken = 0;
    while (taken < size) {
      const { bytesWritten } = await write(fd, data, taken, size - taken, offset + taken);
      taken += bytesWritten;
    }
    return u32Pair(taken);
  });
}

export async function fsyncFile(state: FolderState, node: Node, body: RequestBody): Promise<undefined> {
  const number = body.u64();
  const flags = body.u32();
  const handle = handleOf(state, node, number, false);
  await state.handles.use(handle, (fd) => (flags & DATA_ONLY ? fdatasync(fd) : fsync(fd)));
  return undefined;
}

export async function fsyncDirectory(state: FolderState, node: Node): Promise<undefined> {
  const fd = withNode(state, node, (file) => openSync(itself(file), O_RDONLY | constants.O_DIRECTORY));
  try {
    await fsync(fd);
    return undefined;
  } finally {
    closeSync(fd);
  }
}

export function statfs(state: FolderState): Buffer {
  return state.inside.file([], (root) => statfsAnswer(statfsSync(itself(root)), state.quota.left));
}
