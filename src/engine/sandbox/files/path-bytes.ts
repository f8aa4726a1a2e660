import { isUtf8 } from "node:buffer";
import { BASE64_PATH, MAX_PATH_BYTES, SandboxError } from "../../../contract/index.ts";

/** Paths are bytes in the guest, and text in the API. */

/** @throws `invalid_argument` for one that the kernel would not take */
export function pathBytes(path: string): Buffer {
  const bytes = path.startsWith(BASE64_PATH)
    ? Buffer.from(path.slice(BASE64_PATH.length), "base64")
    : Buffer.from(path);
  if (bytes.length > 0 && bytes.length < MAX_PATH_BYTES && !bytes.includes(0)) return bytes;
  throw new SandboxError(
    "invalid_argument",
    `a path has 1 to ${MAX_PATH_BYTES - 1} bytes and no NUL: ${path.slice(0, 80)}`,
  );
}

/** As `pathBytes` reads it. */
export function pathText(bytes: Buffer): string {
  const text = isUtf8(bytes) ? bytes.toString("utf8") : undefined;
  return text === undefined || text.startsWith(BASE64_PATH) ? BASE64_PATH + bytes.toString("base64") : text;
}
