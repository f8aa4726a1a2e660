import { type FileHandle, open } from "node:fs/promises";
import { SandboxError } from "../contract/errors.ts";
import { MAX_PASSPHRASE_BYTES } from "../contract/passphrase.ts";

/** The longest passphrase with its line end. */
const MAX_FILE_BYTES = MAX_PASSPHRASE_BYTES + 2;

/**
 * The passphrase that a file holds, without the line end that editors and `echo` add. A passphrase is never an argument: arguments are
 * seen by everybody on the machine. What goes on for ever is not read for ever.
 *
 * @throws `invalid_argument` if it is empty, too long or no UTF-8
 */
export async function passphraseIn(path: string): Promise<string> {
  await using file = await open(path);
  const bytes = await allOf(file);
  if (bytes.length > MAX_FILE_BYTES) throw tooLong(path);
  const text = textOf(bytes, path).replace(/\r?\n$/, "");
  if (text === "") throw new SandboxError("invalid_argument", `there is no passphrase in ${path}`);
  if (Buffer.byteLength(text) > MAX_PASSPHRASE_BYTES) throw tooLong(path);
  return text;
}

/** A pipe gives its bytes in pieces. One byte more than there may be is enough to know. */
async function allOf(file: FileHandle): Promise<Buffer> {
  const bytes = Buffer.alloc(MAX_FILE_BYTES + 1);
  let length = 0;
  while (length < bytes.length) {
    const { bytesRead } = await file.read(bytes, length, bytes.length - length, null);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return bytes.subarray(0, length);
}

/** Whatever cannot be told apart once it is text would be another passphrase than the one in the file. */
function textOf(bytes: Buffer, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new SandboxError("invalid_argument", `the passphrase in ${path} is not UTF-8`, {
      hint: "Write it as UTF-8 text, or as hexadecimal digits or base64.",
      cause,
    });
  }
}

function tooLong(path: string): SandboxError {
  return new SandboxError(
    "invalid_argument",
    `the passphrase in ${path} is longer than ${MAX_PASSPHRASE_BYTES} bytes`,
  );
}
