import { open } from "node:fs/promises";
import { SandboxError } from "../contract/errors.ts";
import { MAX_PASSPHRASE_BYTES } from "../contract/passphrase.ts";

/**
 * The passphrase that a file holds, without the line end that editors and `echo` add. A passphrase is never an argument: arguments are
 * seen by everybody on the machine.
 *
 * @throws `invalid_argument` if it is empty, too long or no UTF-8
 */
export async function passphraseIn(path: string): Promise<string> {
  await using file = await open(path);
  // One more than there may be, with its line end: what goes on for ever is not read for ever.
  const { buffer, bytesRead } = await file.read(
    Buffer.alloc(MAX_PASSPHRASE_BYTES + 3),
    0,
    MAX_PASSPHRASE_BYTES + 3,
  );
  const text = buffer
    .subarray(0, bytesRead)
    .toString("utf8")
    .replace(/\r?\n$/, "");
  if (text === "") throw new SandboxError("invalid_argument", `there is no passphrase in ${path}`);
  if (Buffer.byteLength(text) > MAX_PASSPHRASE_BYTES)
    throw new SandboxError(
      "invalid_argument",
      `the passphrase in ${path} is longer than ${MAX_PASSPHRASE_BYTES} bytes`,
    );
  return text;
}
