import { type ByteString, headerOf, type TarEntry, tarHeader, tarPadding } from "../../tar/index.ts";

/** An entry as it came, under its cleaned path. */
export async function* entryPieces(entry: TarEntry, path: ByteString): AsyncGenerator<Buffer> {
  yield tarHeader(headerOf(entry, path === "" ? "." : path));
  let bytes = 0;
  for await (const piece of entry.body()) {
    bytes += piece.length;
    yield Buffer.from(piece);
  }
  yield tarPadding(bytes);
}
