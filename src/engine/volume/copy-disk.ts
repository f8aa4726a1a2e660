import { execFile } from "node:child_process";
import { open } from "node:fs/promises";
import { promisify } from "node:util";
import { SandboxError } from "../../contract/index.ts";

const run = promisify(execFile);
const COPY_DEADLINE_MS = 30 * 60_000;

/**
 * Copies a disk that nobody writes to, with its holes, and its blocks shared where the file system can. On disk when it returns.
 * @throws `resource_exhausted`, `internal` with what cp says
 */
export async function copyDisk(source: string, target: string): Promise<void> {
  try {
    // Node copies no holes. What QEMU has copied has none either: it writes zeros where the disk that it copies has a hole.
    await run("cp", ["--sparse=always", "--reflink=auto", "--no-preserve=mode", "--", source, target], {
      env: { PATH: process.env.PATH, LC_ALL: "C" },
      timeout: COPY_DEADLINE_MS,
    });
  } catch (cause) {
    const { stderr = "" } = cause as { stderr?: string };
    if (/No space left|quota exceeded/i.test(stderr)) {
      throw new SandboxError("resource_exhausted", "the disk is full: a volume cannot be copied", {
        hint: "Free space on the disk that holds MSB_HOME, or point MSB_HOME to a larger one.",
        cause,
      });
    }
    throw new SandboxError("internal", `a volume cannot be copied: ${stderr.trim() || cause}`, { cause });
  }
  await using copy = await open(target, "r+");
  await copy.sync();
}
