/** Option 15 of EDNS: why there is no answer, for those who ask (RFC 8914). */
const OPTION = 15;
/** What an answer of 512 bytes has room for. */
const MAX_TEXT = 200;

/** The option's bytes. */
export function extendedError(code: number, text: string): Uint8Array {
  const utf8 = Buffer.from(text).subarray(0, MAX_TEXT);
  const head = Buffer.alloc(6);
  head.writeUInt16BE(OPTION, 0);
  head.writeUInt16BE(2 + utf8.length, 2);
  head.writeUInt16BE(code, 4);
  return Buffer.concat([head, utf8]);
}
