/** What goes wrong between what is stored and the disk below it, said so that the user can act on it. */

import { SandboxError } from "../contract/errors.ts";

/** Runs `work`; errors of the file system become SandboxErrors that say what was being done. */
export async function storing<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storageError(error, what);
  }
}

/** @param what was being done */
export function storageError(error: unknown, what: string): SandboxError {
  if (error instanceof SandboxError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case "ENOSPC":
    case "EDQUOT":
      return diskFull(what, error);
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new SandboxError("permission_denied", `${what} failed: ${message}`, {
        hint: "MSB_HOME must be writable by the user who runs the daemon.",
        cause: error,
      });
    case "EXDEV":
    case "EMLINK":
    case "ENOTSUP":
      return new SandboxError("unsupported", `${what} failed: ${message}`, {
        hint: "MSB_HOME must lie on one file system that has hard links, such as ext4, XFS or Btrfs.",
        cause: error,
      });
    default:
      return new SandboxError("internal", `${what} failed: ${message}`, { cause: error });
  }
}

export function diskFull(what: string, cause?: unknown): SandboxError {
  return new SandboxError("resource_exhausted", `the disk is full: ${what} failed`, {
    hint: "Free space on the disk that holds MSB_HOME, remove images or snapshots, or point MSB_HOME to a larger disk.",
    cause,
  });
}
