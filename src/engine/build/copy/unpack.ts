/** What ADD unpacks: a tar, plain, gzip or zstd, told by what is in it and not by its name. */

import { SandboxError } from "../../../contract/index.ts";
import { ByteReader, decompress, headerOf, readTar, type TarHeader } from "../../../tar/index.ts";
import { cleanPath, type ImageTree, type Inode } from "../../image/index.ts";
import { type Position, unsupported } from "../dockerfile/position.ts";

export interface ArchiveEntry {
  header: TarHeader;
  /** The stored bytes. */
  body(): AsyncIterable<Buffer>;
}

/** Unpacked bytes of one archive. */
const MAX_BYTES = 64 * 2 ** 30;

/**
 * The entries of the archive that a file is; undefined if it is none.
 * @throws `unsupported` with the place for a compression that we cannot unpack and Docker can
 */
export async function unpackable(
  tree: ImageTree,
  file: Inode,
  at: Position,
): Promise<AsyncGenerator<ArchiveEntry> | undefined> {
  const open = () => new ByteReader(decompress(tree.read(file)), MAX_BYTES);
  const probe = open();
  try {
    const first = await readTar(probe).next();
    if (first.done) return undefined;
  } catch (error) {
    if (!(error instanceof SandboxError) || error.code !== "unsupported") return undefined; // no tar: a file like others
    throw unsupported(
      at,
      `ADD cannot unpack it: ${error.message}`,
      "COPY takes it as it is; gzip and zstd are unpacked.",
    );
  } finally {
    await probe.close().catch(() => {});
  }
  return entries(open());
}

async function* entries(reader: ByteReader): AsyncGenerator<ArchiveEntry> {
  try {
    for await (const entry of readTar(reader)) {
      const header = headerOf(entry, cleanPath(entry.path));
      yield {
        header: {
          ...header,
          linkTarget: entry.type === "link" ? cleanPath(entry.linkTarget) : entry.linkTarget,
        },
        body: () => entry.body(),
      };
    }
  } finally {
    await reader.close().catch(() => {});
  }
}
