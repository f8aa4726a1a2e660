/**
 * Where a sparse file has data. Node has no lseek(SEEK_DATA); GNU tar has, and says what it found at the start of an archive, from
 * which no more is read. Without such a tar the whole file counts as data: slower, and nothing else.
 */

import { spawn } from "node:child_process";
import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { ByteReader, readTar, type SparseExtent } from "../../tar/index.ts";

/** Below this, reading is cheaper than starting a program. */
const WORTHWHILE_BYTES = 8 * 1024 * 1024;
/** An archive's headers and its map; no more is read. */
const MAX_MAP_BYTES = 16 * 1024 * 1024;
const DEADLINE_MS = 10_000;

/** Ascending and not overlapping; all else of the file reads as zeros. */
export async function dataExtents(path: string): Promise<SparseExtent[]> {
  const { size, blocks } = await stat(path);
  const whole = size === 0 ? [] : [{ offset: 0, length: size }];
  if (size < WORTHWHILE_BYTES || blocks * 512 >= size) return whole;
  return (await askTar(path).catch(() => undefined)) ?? whole;
}

async function askTar(path: string): Promise<SparseExtent[] | undefined> {
  const args = ["--sparse", "--hole-detection=seek", "--format=posix", "--create", "--file=-"];
  const tar = spawn("tar", [...args, "--directory", dirname(path), "--", basename(path)], {
    stdio: ["ignore", "pipe", "ignore"],
    env: { PATH: process.env.PATH, LC_ALL: "C" },
    timeout: DEADLINE_MS,
  });
  const gone = new Promise<void>((resolve) =>
    tar.once("close", () => resolve()).once("error", () => resolve()),
  );
  try {
    for await (const entry of readTar(new ByteReader(tar.stdout, MAX_MAP_BYTES))) {
      return entry.sparse?.filter(({ length }) => length > 0);
    }
    return undefined;
  } finally {
    tar.stdout.destroy();
    tar.kill("SIGKILL");
    await gone;
  }
}
