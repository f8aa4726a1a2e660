/** The merged file system of an image as one tar: directories before what is in them, names in order, hard links kept. */

import type { ByteString } from "../../../tar/index.ts";
import { TAR_END, type TarHeader, tarHeader, tarPadding } from "../../../tar/index.ts";
import type { ImageTree } from "./image-tree.ts";
import { type Inode, isDirectory } from "./tree.ts";

const GATHER_BYTES = 64 * 1024;

/** The same tree gives the same bytes. Errors: `internal` for a damaged layer. Sockets have no place in a tar and are left out. */
export async function* treeTar(tree: ImageTree): AsyncGenerator<Buffer> {
  const names = new Map<Inode, ByteString>();
  const pending: [path: ByteString, inode: Inode][] = [["", tree.root]];
  let headers: Buffer[] = [];
  let bytes = 0;
  const add = (...parts: Buffer[]) => {
    for (const part of parts) {
      headers.push(part);
      bytes += part.length;
    }
  };
  const take = (): Buffer => {
    const all = Buffer.concat(headers);
    headers = [];
    bytes = 0;
    return all;
  };
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [path, inode] = next;
    if (bytes >= GATHER_BYTES) yield take();
    const first = names.get(inode);
    if (first !== undefined) {
      add(
        tarHeader({
          ...treeEntry(tree, path, inode),
          type: "link",
          linkTarget: first,
          size: 0,
          sparse: undefined,
        }),
      );
      continue;
    }
    if (inode.type === "socket") continue;
    add(tarHeader(treeEntry(tree, path === "" ? "." : path, inode)));
    if (isDirectory(inode)) {
      const children = [...inode.children].sort(([a], [b]) => (a < b ? 1 : -1));
      for (const [name, child] of children) pending.push([path === "" ? name : `${path}/${name}`, child]);
      continue;
    }
    names.set(inode, path);
    if (inode.type !== "file" || inode.size === 0) continue;
    yield take();
    let written = 0;
    for await (const piece of tree.readExtents(inode)) {
      written += piece.length;
      yield piece;
    }
    add(tarPadding(written));
  }
  add(TAR_END);
  yield take();
}

/** An inode as an entry of a tar. */
export function treeEntry(
  tree: ImageTree,
  path: ByteString,
  inode: Inode,
): TarHeader & { type: TarHeader["type"] } {
  const { mode, uid, gid, mtime, xattrs, device, size, target } = inode;
  return {
    type: inode.type === "socket" ? "file" : inode.type,
    path,
    linkTarget: target,
    mode,
    uid,
    gid,
    mtime,
    size,
    sparse: inode.chunks === undefined ? undefined : tree.extents(inode),
    device,
    xattrs,
  };
}
