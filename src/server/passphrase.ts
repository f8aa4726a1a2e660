import type { Context } from "hono";
import { z } from "zod";
import { MAX_PASSPHRASE_BYTES, PASSPHRASE_HEADER, SandboxError } from "../contract/index.ts";

/** What a route says of the header. */
export const passphraseHeader = (description: string) =>
  z.object({
    [PASSPHRASE_HEADER]: z
      .string()
      .optional()
      .meta({ description: `${description} base64url of UTF-8, at most ${MAX_PASSPHRASE_BYTES} bytes.` }),
  });

/**
 * The passphrase that came with a request. No error quotes it.
 *
 * @returns undefined without the header
 * @throws `invalid_argument` if it is no base64url of UTF-8, empty, or too long
 */
export function passphraseOf(c: Context): string | undefined {
  const value = c.req.header(PASSPHRASE_HEADER);
  if (value === undefined) return undefined;
  const bytes = Buffer.from(value, "base64url");
  if (bytes.toString("base64url") !== value.replace(/=+$/, ""))
    throw new SandboxError("invalid_argument", "the passphrase is not base64url");
  if (bytes.length === 0) throw new SandboxError("invalid_argument", "the passphrase is empty");
  if (bytes.length > MAX_PASSPHRASE_BYTES)
    throw new SandboxError(
      "invalid_argument",
      `the passphrase has ${bytes.length} bytes, ${MAX_PASSPHRASE_BYTES} are allowed`,
    );
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new SandboxError("invalid_argument", "the passphrase is not UTF-8", { cause });
  }
}
