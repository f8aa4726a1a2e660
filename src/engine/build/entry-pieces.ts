import { type ByteString, type TarEntry, tarHeader, tarPadding } from "../image/index.ts";

/** An entry as it came, under its cleaned path. */
export async function* entryPieces(entry: TarEntry, path: ByteString): AsyncGenerator<Buffer> {
  const { type, mode, uid, gid, mtime, size, sparse, linkTarget, xattrs } = entry;
  const device = [entry.deviceMajor, entry.deviceMinor] as const;
  const common = {
    type,
    path: path === "" ? "." : path,
    mode,
    uid,
    gid,
    mtime,
    size,
    sparse,
    linkTarget,
    device,
  };
  yield tarHeader({ ...common, xattrs: Object.fromEntries(xattrs) });
  let bytes = 0;
  for await (const piece of entry.body()) {
    bytes += piece.length;
    yield Buffer.from(piece);
  }
  yield tarPadding(bytes);
}
