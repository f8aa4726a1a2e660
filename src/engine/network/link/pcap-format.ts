/**
 * Captures as Wireshark and tcpdump read them: `draft-ietf-opsawg-pcap`, the classic format, with times in nanoseconds, of Ethernet. A
 * header, and then a record for each frame. Bounds: a frame is one of a link, which bounds it.
 */

const MAGIC_NANOSECONDS = 0xa1b23c4d;
const LINKTYPE_ETHERNET = 1;
/** No frame is longer, and none is cut. */
export const SNAPSHOT_BYTES = 262_144;
export const PCAP_HEADER = 24;
export const RECORD_HEADER = 16;

export function pcapHeader(): Buffer {
  const header = Buffer.alloc(PCAP_HEADER);
  header.writeUInt32LE(MAGIC_NANOSECONDS, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(SNAPSHOT_BYTES, 16);
  header.writeUInt32LE(LINKTYPE_ETHERNET, 20);
  return header;
}

/** What the record of a frame takes. */
export function recordBytes(parts: readonly Uint8Array[]): number {
  let bytes = RECORD_HEADER;
  for (const part of parts) bytes += part.length;
  return bytes;
}

/** A frame that came or went now, copied: nobody keeps what is sent for as long as a disk takes. */
export function pcapRecord(parts: readonly Uint8Array[]): Buffer {
  const record = Buffer.allocUnsafe(recordBytes(parts));
  const length = record.length - RECORD_HEADER;
  const now = performance.timeOrigin + performance.now();
  const seconds = Math.floor(now / 1000);
  record.writeUInt32LE(seconds, 0);
  record.writeUInt32LE(Math.min(999_999_999, Math.floor((now - seconds * 1000) * 1e6)), 4);
  record.writeUInt32LE(length, 8);
  record.writeUInt32LE(length, 12);
  let at = RECORD_HEADER;
  for (const part of parts) {
    record.set(part, at);
    at += part.length;
  }
  return record;
}

/** The length of the record whose header is at `at`; undefined for what is none. */
export function recordLengthAt(bytes: Buffer, at: number): number | undefined {
  if (at + RECORD_HEADER > bytes.length) return undefined;
  const length = bytes.readUInt32LE(at + 8);
  return length > SNAPSHOT_BYTES ? undefined : RECORD_HEADER + length;
}
