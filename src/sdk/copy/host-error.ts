import { type ErrorCode, SandboxError } from "../../contract/errors.ts";

const CODES: Record<string, [ErrorCode, string]> = {
  ENOENT: ["not_found", "is not there"],
  ENOTDIR: ["invalid_argument", "is no folder, or is a link that is not followed"],
  ELOOP: ["invalid_argument", "is a link, which is not followed"],
  EISDIR: ["invalid_argument", "is a folder"],
  EEXIST: ["already_exists", "is there already"],
  EACCES: ["permission_denied", "may not be touched"],
  EPERM: ["permission_denied", "may not be touched"],
  EROFS: ["permission_denied", "is on a file system that is read-only"],
  ENOSPC: ["resource_exhausted", "does not fit: the disk is full"],
  EDQUOT: ["resource_exhausted", "does not fit: the quota is used up"],
  ENAMETOOLONG: ["invalid_argument", "has too long a name"],
  EILSEQ: ["invalid_argument", "has a name that this file system does not take"],
};

/** What this machine's file system has against it. */
export function refusedBy(code: string, path: string, cause?: unknown): SandboxError {
  const [known, words] = CODES[code] ?? ["internal", `cannot be made (${code})`];
  return new SandboxError(known, `${path} on this machine ${words}`, { cause });
}
