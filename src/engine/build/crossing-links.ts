import { SandboxError } from "../../contract/index.ts";
import {
  ByteReader,
  type ByteString,
  readTar,
  show,
  TAR_END,
  tarHeader,
  tarPadding,
} from "../../tar/index.ts";
import {
  cleanPath,
  DEFAULT_IMAGE_LIMITS,
  type Digest,
  type ImageStore,
  type ImageTree,
  type Inode,
  isDirectory,
  treeEntry,
} from "../image/index.ts";
import { entryPieces } from "./entry-pieces.ts";

/** A name whose file is in another layer. */
export interface Copied {
  path: ByteString;
  /** Its name there. */
  target: ByteString;
  from: Digest;
}

/** A layer's tar with files of other layers behind its own entries. Names of one file stay hard links of each other. */
export async function* withCopies(
  store: ImageStore,
  layer: Digest,
  copies: readonly Copied[],
): AsyncGenerator<Buffer> {
  const reader = new ByteReader(store.layerTar(layer), DEFAULT_IMAGE_LIMITS.maxLayerBytes);
  try {
    for await (const entry of readTar(reader)) yield* entryPieces(entry, cleanPath(entry.path));
  } finally {
    await reader.close().catch(() => {});
  }
  const names = new Map<Inode, ByteString>();
  for (const from of new Set(copies.map((copy) => copy.from))) {
    await using tree = await store.openLayers([from]);
    for (const { path, target } of copies.filter((copy) => copy.from === from)) {
      yield* copyOf(tree, path, target, names);
    }
  }
  yield TAR_END;
}

async function* copyOf(
  tree: ImageTree,
  path: ByteString,
  target: ByteString,
  names: Map<Inode, ByteString>,
): AsyncGenerator<Buffer> {
  const inode = tree.lookup(target, { last: "nofollow" })?.inode;
  if (inode === undefined || isDirectory(inode)) {
    throw new SandboxError(
      "invalid_argument",
      `${show(path)} is a hard link to ${show(target)}, which is no file`,
    );
  }
  const first = names.get(inode);
  if (first !== undefined) {
    const link = { ...treeEntry(tree, path, inode), type: "link", linkTarget: first, size: 0 } as const;
    yield tarHeader({ ...link, sparse: undefined });
    return;
  }
  names.set(inode, path);
  yield tarHeader(treeEntry(tree, path, inode));
  if (inode.type !== "file") return;
  let bytes = 0;
  for await (const piece of tree.readExtents(inode)) {
    bytes += piece.length;
    yield piece;
  }
  yield tarPadding(bytes);
}
