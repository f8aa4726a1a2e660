/**
 * Encrypts and decrypts a stream with a passphrase, in the format of age (age-encryption.org/v1): `age -d` opens what is written here.
 *
 * What comes in is a stranger's. Its header is compared with the only form that a passphrase's has, in its first HEADER_BYTES, before
 * the library reads it, which would read a header of any length; and the work that it may ask for is bounded by MAX_LOG_N.
 */

import { createCipheriv, createDecipheriv, randomBytes, scrypt } from "node:crypto";
import type { Stanza } from "age-encryption";
import { SandboxError } from "../../contract/index.ts";

/** Cost of deriving the key: 2^18, age's own, is about a second and 256 MiB. */
const LOG_N = 18;
const MAX_LOG_N = 18;
const LABEL = "age-encryption.org/v1/scrypt";
const MAGIC = "age-encryption.org/v1\n";
const HEADER =
  /^age-encryption\.org\/v1\n-> scrypt [A-Za-z0-9+/]{22} [1-9][0-9]?\n[A-Za-z0-9+/]{43}\n--- [A-Za-z0-9+/]{43}\n/;
/** Longer than any header that is let through. */
export const HEADER_BYTES = 256;
const TAG_BYTES = 16;

/** Whether a stream that begins so is encrypted. */
export function isEncrypted(head: Buffer): boolean {
  return head.toString("latin1", 0, MAGIC.length) === MAGIC;
}

/** Errors of the source come out as they are. */
export async function* encrypt(
  source: AsyncIterable<Uint8Array>,
  passphrase: string,
): AsyncGenerator<Uint8Array> {
  const { Encrypter, Stanza } = await import("age-encryption");
  const encrypter = new Encrypter();
  encrypter.addRecipient({
    wrapFileKey: async (fileKey: Uint8Array) => {
      const salt = randomBytes(16);
      const cipher = createCipheriv("chacha20-poly1305", await keyOf(passphrase, salt, LOG_N), NONCE, SIZES);
      const body = Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]);
      return [new Stanza(["scrypt", salt.toString("base64").replace(/=+$/, ""), String(LOG_N)], body)];
    },
  });
  yield* await encrypter.encrypt(streamOf(source));
}

/**
 * @param head the stream's first HEADER_BYTES, if it has as many
 * @throws `unauthenticated` if the passphrase is wrong, `invalid_argument` if the data is damaged, cut off or not encrypted with a passphrase. What has come
 * out before was good, but only the end says that it is all.
 */
export async function* decrypt(
  head: Buffer,
  rest: AsyncIterable<Uint8Array>,
  passphrase: string,
): AsyncGenerator<Uint8Array> {
  if (!HEADER.test(head.toString("latin1", 0, HEADER_BYTES))) {
    throw new SandboxError("invalid_argument", "the archive is not encrypted with a passphrase, or damaged");
  }
  let sourceError: unknown;
  const source = (async function* () {
    yield head;
    try {
      yield* rest;
    } catch (error) {
      sourceError = error;
      throw error;
    }
  })();
  const { Decrypter } = await import("age-encryption");
  const decrypter = new Decrypter();
  decrypter.addIdentity({ unwrapFileKey: (stanzas: Stanza[]) => unwrap(stanzas[0]!, passphrase) });
  try {
    yield* await decrypter.decrypt(streamOf(source));
  } catch (cause) {
    if (sourceError !== undefined || cause instanceof SandboxError) throw sourceError ?? cause;
    throw new SandboxError("invalid_argument", "the encrypted archive is damaged or cut off", {
      hint: "The file or the transfer is broken. Fetch it again.",
      cause,
    });
  }
}

async function unwrap({ args, body }: Stanza, passphrase: string): Promise<Uint8Array> {
  const logN = Number(args[2]);
  if (logN > MAX_LOG_N) {
    throw new SandboxError("invalid_argument", `the archive's key would cost too much: 2^${logN}`, {
      hint: `Decrypt it with age first, and encrypt it again with a cost of at most 2^${MAX_LOG_N}.`,
    });
  }
  const key = await keyOf(passphrase, Buffer.from(args[1]!, "base64"), logN);
  const decipher = createDecipheriv("chacha20-poly1305", key, NONCE, SIZES);
  decipher.setAuthTag(body.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(body.subarray(0, -TAG_BYTES)), decipher.final()]);
  } catch (cause) {
    throw new SandboxError("unauthenticated", "the passphrase is wrong", { cause });
  }
}

/** The file's key is wrapped once with each key that is made here. */
const NONCE = Buffer.alloc(12);
const SIZES = { authTagLength: TAG_BYTES };

/** Beside the main thread, unlike the library's own, which would have the daemon stand still for a second. */
function keyOf(passphrase: string, salt: Buffer, logN: number): Promise<Buffer> {
  const N = 2 ** logN;
  const options = { N, r: 8, p: 1, maxmem: 2 * 128 * 8 * N };
  return new Promise((resolve, reject) => {
    scrypt(passphrase, Buffer.concat([Buffer.from(LABEL), salt]), 32, options, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}

function streamOf(source: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  return ReadableStream.from(source) as ReadableStream<Uint8Array>;
}
