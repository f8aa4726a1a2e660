import { SandboxError } from "../contract/errors.ts";
import { MAX_HEADER_JSON_BYTES } from "../contract/upload.ts";

/**
 * A value as it goes in a header, beside a body that is a tar.
 *
 * @param what it is, for errors
 */
export function jsonHeader(value: unknown, what: string): string {
  const bytes = Buffer.from(JSON.stringify(value));
  if (bytes.length <= MAX_HEADER_JSON_BYTES) return bytes.toString("base64");
  throw new SandboxError(
    "invalid_argument",
    `${what} has ${bytes.length} bytes of JSON, ${MAX_HEADER_JSON_BYTES} are allowed`,
  );
}
