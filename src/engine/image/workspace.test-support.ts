/** A store, a folder and an opened root disk for tests; all gone when disposed of. */

import { closeSync, existsSync, openSync, readFileSync, readSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FlatExtent } from "../disk/index.ts";
import { ErofsReader } from "./erofs/erofs-reader.test-support.ts";
import { type ImageLimits, ImageStore, type RootDisk } from "./index.ts";

// The real descriptor comes from the disk room, which this room may not import; what it says is tested there.
export const describeForTest = (extents: readonly FlatExtent[]) =>
  extents.map(({ file, sizeBytes }) => `RW ${sizeBytes / 512} FLAT "${file}" 0\n`).join("");

export interface Workspace extends AsyncDisposable {
  path: string;
  store: ImageStore;
}

// Each import waits for the disk several times; in memory the tests take seconds instead of minutes on a slow one.
const SCRATCH = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

export async function workspace(limits: Partial<ImageLimits> = {}): Promise<Workspace> {
  const path = await mkdtemp(join(SCRATCH, "msb-image-"));
  const store = await ImageStore.open({
    directory: join(path, "images"),
    describeDisk: describeForTest,
    limits,
  });
  return { path, store, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Reads the joined device as a VM would, through the descriptor. */
export function openDisk(disk: RootDisk): ErofsReader & Disposable {
  const lines = readFileSync(join(disk.directory, disk.descriptor), "utf8").matchAll(
    /^RW (\d+) FLAT "(.+)" 0$/gm,
  );
  let start = 0;
  const files = [...lines].map(([, sectors, file]) => {
    const size = Number(sectors) * 512;
    const extent = { start, size, fd: openSync(join(disk.directory, file!), "r") };
    start += size;
    return extent;
  });
  const read = (offset: number, length: number): Buffer => {
    const target = Buffer.alloc(length);
    for (const { start, size, fd } of files) {
      const from = Math.max(offset, start);
      const to = Math.min(offset + length, start + size);
      if (from < to) readSync(fd, target, from - offset, to - from, from - start);
    }
    return target;
  };
  const reader = new ErofsReader(read);
  return Object.assign(reader, {
    [Symbol.dispose]: () => {
      for (const { fd } of files) closeSync(fd);
    },
  });
}
