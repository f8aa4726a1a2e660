/**
 * Names in an image are bytes, not text: a file name may be Latin-1, Shift-JIS or noise. In memory they are
 * *byte strings*: JavaScript strings with one character, U+0000 to U+00FF, for each byte (Node's "latin1").
 * They compare, sort and hash in byte order, serve as map keys, and cost one byte a character. They become
 * text only to be shown.
 */
export type ByteString = string;

/** The bytes of a byte string. */
export function toBytes(value: ByteString): Buffer {
  return Buffer.from(value, "latin1");
}

/** A byte string of bytes. */
export function fromBytes(bytes: Uint8Array): ByteString {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

/** For messages: quoted, UTF-8 where it is valid, control characters escaped, cut to 200 characters. */
export function show(value: ByteString): string {
  const text = toBytes(value).toString("utf8");
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}
