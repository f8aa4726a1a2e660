import { createHash } from "node:crypto";
import { type Directory, type ImageTree, type Inode, isDirectory } from "../../src/engine/image/index.ts";
import { KERNELS, PLATFORM, type SeenTree, seenFile } from "./tree.ts";

/** The tree of a stored image as `hostTree` would give it, had it been unpacked: to compare the two without a VM. */
export async function storedTree(tree: ImageTree): Promise<SeenTree> {
  const seen: SeenTree = new Map();
  const links = new Map<Inode, number>();
  for (const [, inode] of walk(tree.root)) links.set(inode, (links.get(inode) ?? 0) + 1);
  const names = new Map<Inode, string>();
  for (const [path, inode] of walk(tree.root)) {
    if (PLATFORM.test(path)) continue;
    const first = names.get(inode) ?? path;
    names.set(inode, first);
    const [seconds, nanoseconds] = inode.mtime;
    seen.set(
      path,
      seenFile({
        type: TYPES[inode.type],
        mode: inode.mode,
        uid: inode.uid,
        gid: inode.gid,
        mtime: `${seconds}.${String(nanoseconds).padStart(9, "0")}`,
        size: inode.target?.length ?? inode.size,
        device: inode.device?.join(":"),
        target: inode.target,
        sha256: inode.type === "file" ? await digest(tree, inode) : undefined,
        same: isDirectory(inode) || links.get(inode) === 1 ? undefined : first,
        xattrs: xattrsOf(inode),
      }),
    );
  }
  return seen;
}

const TYPES: Record<string, number> = {
  file: 0o100000,
  directory: 0o040000,
  symlink: 0o120000,
  char: 0o020000,
  block: 0o060000,
  fifo: 0o010000,
};

/** In the probe's order: names by their bytes, a folder before what is in it. */
function* walk(folder: Directory, above = ""): Generator<[path: string, inode: Inode]> {
  for (const name of [...folder.children.keys()].sort()) {
    const path = `${above}${name}`;
    if (KERNELS.includes(path)) continue;
    const inode = folder.children.get(name)!;
    yield [path, inode];
    if (isDirectory(inode)) yield* walk(inode, `${path}/`);
  }
}

/** The probe looks at those of files and folders only, and encodes their bytes. */
function xattrsOf({ type, xattrs = {} }: Inode): Record<string, string> | undefined {
  const names = Object.keys(xattrs).sort();
  if (names.length === 0 || (type !== "file" && type !== "directory")) return undefined;
  const encode = (name: string) => Buffer.from(xattrs[name]!, "latin1").toString("base64");
  return Object.fromEntries(names.map((name) => [name, encode(name)]));
}

/** The probe's rule: of larger files windows stand for the whole. */
const WHOLE_BYTES = 2 ** 20;
const WINDOWS = 16;
const WINDOW_BYTES = 64 * 1024;

async function digest(tree: ImageTree, file: Inode): Promise<string> {
  if (file.size > WHOLE_BYTES) return windows(await tree.readSmall(file, 2 ** 28));
  const hash = createHash("sha256");
  for await (const piece of tree.read(file)) hash.update(piece);
  return hash.digest("hex");
}

/** What the probe tells of a large file's contents. */
export function windows(whole: Buffer): string {
  const hash = createHash("sha256");
  for (let i = 0; i <= WINDOWS; i++) {
    const at = Math.min(i * Math.floor(whole.length / WINDOWS), whole.length - WINDOW_BYTES);
    hash.update(whole.subarray(at, at + WINDOW_BYTES));
  }
  return hash.digest("hex");
}
