import type { FileHandle } from "node:fs/promises";
import { SandboxError } from "../../contract/index.ts";

/** Fills `buffer` from the file's byte `at` on. @throws `internal` naming `path`, if the file ends before */
export async function readFully(file: FileHandle, buffer: Buffer, at: number, path: string): Promise<void> {
  for (let filled = 0; filled < buffer.length; ) {
    const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, at + filled);
    if (bytesRead === 0) {
      throw new SandboxError("internal", `a stored state is damaged: ${path} ends at byte ${at + filled}`);
    }
    filled += bytesRead;
  }
}
