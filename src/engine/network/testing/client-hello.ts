/** ClientHellos for tests, as OpenSSL lays them out. */

const u16 = (value: number) => Buffer.from([value >> 8, value & 255]);
const block = (bytes: Buffer) => Buffer.concat([u16(bytes.length), bytes]);

export const serverName = (name: string): Buffer =>
  Buffer.concat([u16(0), block(block(Buffer.concat([Buffer.of(0), block(Buffer.from(name, "latin1"))])))]);

/** The message with its four bytes of type and length. */
export function helloMessage(extensions: Buffer[]): Buffer {
  const body = Buffer.concat([
    Buffer.of(3, 3),
    Buffer.alloc(32, 7),
    Buffer.of(32),
    Buffer.alloc(32, 9),
    block(Buffer.from("130113021303c02b", "hex")),
    Buffer.of(1, 0),
    block(Buffer.concat(extensions)),
  ]);
  return Buffer.concat([Buffer.of(1, 0), u16(body.length), body]);
}

/** Its records, of at most `size` bytes each. */
export function inRecords(message: Buffer, size = 16_384, type = 22): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    records.push(Buffer.concat([Buffer.of(type, 3, 1), block(part)]));
  }
  return Buffer.concat(records);
}

const SUPPORTED_GROUPS = Buffer.concat([u16(10), block(Buffer.from("0004001d0017", "hex"))]);

/** A whole ClientHello for the name, or for none. */
export const hello = (name?: string, size?: number): Buffer =>
  inRecords(helloMessage([SUPPORTED_GROUPS, ...(name === undefined ? [] : [serverName(name)])]), size);
