import {
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
} from "node:fs";
import { entryOf, opened, PERMISSIONS } from "./answers.ts";
import { openFile } from "./file-operations.ts";
import { Errno, errnoOf, FuseError, MAX_LINK_BYTES } from "./fuse-protocol.ts";
import { at, entry, itself } from "./inside.ts";
import type { Node } from "./nodes.ts";
import type { RequestBody } from "./request-body.ts";
import { assertWritable, type FolderState, identityOf, withDirectory } from "./state.ts";

/**
 * What is done to names. Each is one system call on the host with names below open directories; a request that is repeated
 * after a daemon has died is content with what it would have brought about.
 */

const TYPE = 0o170000;
const REGULAR = 0o100000;
/** What a new file or folder counts for the quota, beside its contents. */
const NEW_ENTRY_BYTES = 4096;
const RENAME_NOREPLACE = 1;

function found(state: FolderState, parent: Node, name: Buffer, stat: BigIntStats): Buffer {
  return entryOf(state.nodes.entry(parent, name, identityOf(stat)), stat, state.owner);
}

/** Looks at an entry that is there, and tells the kernel of it. */
export function tell(state: FolderState, parent: Node, directory: number, name: Buffer): Buffer {
  return entry(directory, name, (_, stat) => found(state, parent, name, stat));
}

export function lookup(state: FolderState, parent: Node, body: RequestBody): Buffer {
  const name = body.name();
  return withDirectory(state, parent, (directory) => tell(state, parent, directory, name));
}

export function create(state: FolderState, parent: Node, body: RequestBody, repeated: boolean): Buffer {
  const flags = body.u32();
  const mode = body.u32();
  body.skip(8);
  const name = body.name();
  assertWritable(state);
  state.handles.reserve();
  return withDirectory(state, parent, (directory) => {
    const fd = createFile(state, directory, name, mode, (flags & constants.O_EXCL) === 0 || repeated);
    if (fd === undefined) {
      // Somebody on the host was faster.
      const told = tell(state, parent, directory, name);
      const node = state.nodes.child(parent, name)!;
      return Buffer.concat([told, opened(openFile(state, node, flags))]);
    }
    try {
      const stat = fstatSync(fd, { bigint: true });
      const told = found(state, parent, name, stat);
      return Buffer.concat([told, opened(state.handles.add(state.nodes.child(parent, name)!, fd).number)]);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  });
}

/** @returns undefined if there is something of that name, and that is well */
function createFile(
  state: FolderState,
  directory: number,
  name: Buffer,
  mode: number,
  existing: boolean,
): number | undefined {
  state.quota.take(NEW_ENTRY_BYTES);
  const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  let fd: number;
  try {
    fd = openSync(at(directory, name), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  } catch (error) {
    if (existing && errnoOf(error) === Errno.EEXIST) return undefined;
    throw error;
  }
  // Not at once: the daemon's umask is none of the guest's business.
  fchmodSync(fd, mode & PERMISSIONS);
  return fd;
}

export function mknod(state: FolderState, parent: Node, body: RequestBody, repeated: boolean): Buffer {
  const mode = body.u32();
  body.skip(12);
  const name = body.name();
  assertWritable(state);
  // Devices, FIFOs and sockets would be the host's.
  if ((mode & TYPE) !== REGULAR && (mode & TYPE) !== 0) throw new FuseError(Errno.EPERM);
  return withDirectory(state, parent, (directory) => {
    const fd = createFile(state, directory, name, mode, repeated);
    if (fd !== undefined) closeSync(fd);
    return tell(state, parent, directory, name);
  });
}

export function mkdir(state: FolderState, parent: Node, body: RequestBody, repeated: boolean): Buffer {
  const mode = body.u32();
  body.skip(4);
  const name = body.name();
  assertWritable(state);
  state.quota.take(NEW_ENTRY_BYTES);
  return withDirectory(state, parent, (directory) => {
    done(Errno.EEXIST, repeated, () => mkdirSync(at(directory, name), 0o700));
    return entry(directory, name, (made, stat) => {
      if (!stat.isDirectory()) throw new FuseError(Errno.EEXIST);
      chmodSync(itself(made), mode & PERMISSIONS);
      return found(state, parent, name, fstatSync(made, { bigint: true }));
    });
  });
}

export function symlink(state: FolderState, parent: Node, body: RequestBody, repeated: boolean): Buffer {
  const name = body.name();
  const target = Buffer.from(body.text(MAX_LINK_BYTES));
  assertWritable(state);
  state.quota.take(NEW_ENTRY_BYTES);
  return withDirectory(state, parent, (directory) => {
    // A text and nothing more: it is resolved in the guest, and never here.
    done(Errno.EEXIST, repeated, () => symlinkSync(target as unknown as string, at(directory, name)));
    return tell(state, parent, directory, name);
  });
}

export function readlink(state: FolderState, node: Node): Buffer {
  if (node.parent === undefined) throw new FuseError(Errno.EINVAL);
  return withDirectory(state, node.parent, (directory) =>
    readlinkSync(at(directory, node.name), { encoding: "buffer" }),
  );
}

export function unlink(state: FolderState, parent: Node, body: RequestBody, repeated: boolean): undefined {
  removeWith(state, parent, body.name(), repeated, unlinkSync);
}

export function rmdir(state: FolderState, parent: Node, body: RequestBody, repeated: boolean): undefined {
  removeWith(state, parent, body.name(), repeated, rmdirSync);
}

function removeWith(
  state: FolderState,
  parent: Node,
  name: Buffer,
  repeated: boolean,
  remove: (path: Buffer) => void,
): void {
  assertWritable(state);
  withDirectory(state, parent, (directory) => {
    done(Errno.ENOENT, repeated, () => remove(at(directory, name)));
  });
  const node = state.nodes.child(parent, name);
  if (node !== undefined) state.nodes.detach(node);
}

export function link(state: FolderState, parent: Node, body: RequestBody, repeated: boolean): Buffer {
  const source = state.nodes.get(body.u64());
  const name = body.name();
  assertWritable(state);
  state.quota.take(NEW_ENTRY_BYTES);
  if (source.parent === undefined) throw new FuseError(Errno.EPERM);
  return withDirectory(state, source.parent, (from) =>
    withDirectory(state, parent, (to) => {
      // link(2) does not follow its first path's last name.
      done(Errno.EEXIST, repeated, () => linkSync(at(from, source.name), at(to, name)));
      return tell(state, parent, to, name);
    }),
  );
}

export function rename(
  state: FolderState,
  parent: Node,
  body: RequestBody,
  repeated: boolean,
  withFlags: boolean,
): undefined {
  const target = state.nodes.get(body.u64());
  const flags = withFlags ? body.u32() : 0;
  if (withFlags) body.skip(4);
  const before = body.name();
  const after = body.name();
  assertWritable(state);
  // Node has no renameat2(2): there is no way to exchange two names at once.
  if ((flags & ~RENAME_NOREPLACE) !== 0) throw new FuseError(Errno.EINVAL);
  withDirectory(state, parent, (from) =>
    withDirectory(state, target, (to) => {
      try {
        if (flags === RENAME_NOREPLACE) renameWithoutReplacing(at(from, before), at(to, after));
        else renameSync(at(from, before), at(to, after));
      } catch (error) {
        const over = repeated && errnoOf(error) === Errno.ENOENT;
        if (!over || lstatSync(at(to, after), { throwIfNoEntry: false }) === undefined) throw error;
      }
    }),
  );
  const node = state.nodes.child(parent, before);
  if (node === undefined) {
    const replaced = state.nodes.child(target, after);
    if (replaced !== undefined) state.nodes.detach(replaced);
  } else {
    state.nodes.move(node, target, after);
  }
}

/** What must not be there is made first, which fails if it is there; then it is replaced by what it stood for. */
function renameWithoutReplacing(from: Buffer, to: Buffer): void {
  if (!lstatSync(from).isDirectory()) {
    linkSync(from, to);
    unlinkSync(from);
    return;
  }
  mkdirSync(to, 0o700);
  try {
    renameSync(from, to);
  } catch (error) {
    rmdirSync(to);
    throw error;
  }
}

/** Does it; of a request that is repeated `errno` says that it was done. */
function done(errno: number, repeated: boolean, operation: () => void): void {
  try {
    operation();
  } catch (error) {
    if (!repeated || errnoOf(error) !== errno) throw error;
  }
}
