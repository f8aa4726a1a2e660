import type { FileHandle } from "node:fs/promises";

/** Writes all of `bytes` from the file's byte `at` on: a single write may be cut short, by a signal or by a disk that is nearly full. */
export async function writeFully(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
  }
}
