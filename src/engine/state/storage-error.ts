/** What goes wrong between stored states and the disk below them, said so that the user can act on it. */

import { SandboxError } from "../../contract/index.ts";

/** Runs `work`; errors of the file system become SandboxErrors that say what was being done. */
export async function storing<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storageError(error, what);
  }
}

function storageError(error: unknown, what: string): unknown {
  if (error instanceof SandboxError) return error;
  const { code, message } = error as NodeJS.ErrnoException & { message: string };
  switch (code) {
    case "ENOSPC":
    case "EDQUOT":
      return diskFull(what, error);
    case "EXDEV":
    case "EMLINK":
    case "ENOTSUP":
      return new SandboxError("unsupported", `${what} failed: ${message}`, {
        hint: "MSB_HOME must lie on one file system that has hard links, such as ext4, XFS or Btrfs.",
        cause: error,
      });
    case undefined:
      return error;
    default:
      return new SandboxError("internal", `${what} failed: ${message}`, { cause: error });
  }
}

export function diskFull(what: string, cause?: unknown): SandboxError {
  return new SandboxError("resource_exhausted", `the disk is full: ${what} failed`, {
    hint: "Free space on the disk that holds MSB_HOME, remove snapshots, or point MSB_HOME to a larger disk.",
    cause,
  });
}
