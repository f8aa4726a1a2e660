import {
  ByteReader,
  type ByteString,
  headerOf,
  readTar,
  TAR_END,
  tarHeader,
  tarPadding,
} from "../../tar/index.ts";
import { entryNames } from "./entry-names.ts";
import type { CopyProgress } from "./unpack.ts";

/**
 * A tar with all its entries moved, hard links among them too: their first name `top` becomes `name`, or what was packed as `.` goes below
 * `name`.
 *
 * @param name undefined: they keep their places
 * @param told hears what has gone through
 */
export async function* renamedTar(
  source: AsyncIterable<Uint8Array>,
  top: ByteString | undefined,
  name: ByteString | undefined,
  told: (progress: CopyProgress) => void,
): AsyncGenerator<Buffer> {
  const moved = (path: ByteString) => entryNames(path, top, name).join("/") || ".";
  const progress: CopyProgress = { entries: 0, bytes: 0 };
  for await (const entry of readTar(new ByteReader(source, Number.MAX_SAFE_INTEGER))) {
    const header = headerOf(entry, moved(entry.path));
    if (entry.type === "link") header.linkTarget = moved(entry.linkTarget);
    yield tarHeader(header);
    for await (const piece of entry.body()) {
      progress.bytes += piece.length;
      told(progress);
      // What is handed on is kept until it is sent; a piece of the reader's is valid only until the next.
      yield Buffer.from(piece);
    }
    yield tarPadding(entry.storedBytes);
    progress.entries += 1;
    told(progress);
  }
  yield TAR_END;
}
