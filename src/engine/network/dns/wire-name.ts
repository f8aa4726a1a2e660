/**
 * Names as DNS messages carry them (RFC 1035, 4.1.4). Hostile input: a name is at most 255 bytes, and each pointer must lead
 * further back than where the name or the last pointer began, so that reading ends after at most as many jumps as bytes. Labels
 * are kept as they came, one character per byte, since resolvers may compare the case of the question that they asked.
 */

/** From the leftmost on; the root is the empty list. One character per byte. */
export type Labels = readonly string[];

const MAX_NAME = 255;
const MAX_LABEL = 63;
/** A pointer's 14 bits. */
const MAX_OFFSET = 0x3fff;

/** The name at `offset`, and where what follows it begins. Undefined for what is malformed. */
export function readName(message: Uint8Array, offset: number): { labels: Labels; end: number } | undefined {
  const labels: string[] = [];
  let end: number | undefined;
  let length = 1;
  let at = offset;
  let lowest = offset;
  for (;;) {
    const head = message[at];
    if (head === undefined) return undefined;
    if (head === 0) return { labels, end: end ?? at + 1 };
    if (head >= 0xc0) {
      const low = message[at + 1];
      if (low === undefined) return undefined;
      const target = ((head & 0x3f) << 8) | low;
      if (target >= lowest) return undefined;
      end ??= at + 2;
      lowest = target;
      at = target;
      continue;
    }
    // 0x40 and 0x80 were never put to use (RFC 6891, 5).
    length += head + 1;
    if (head > MAX_LABEL || length > MAX_NAME || at + 1 + head > message.length) return undefined;
    labels.push(latin1(message.subarray(at + 1, at + 1 + head)));
    at += head + 1;
  }
}

/** Names that were written, and where. The case counts: what was asked and what was answered may differ in it. */
export type WrittenNames = Map<string, number>;

/** The bytes of a name that will stand at `offset`, pointing to what was written before where `written` is given. */
export function nameBytes(labels: Labels, offset = 0, written?: WrittenNames): number[] {
  const bytes: number[] = [];
  for (let i = 0; i < labels.length; i++) {
    const key = spelled(labels.slice(i));
    const known = written?.get(key);
    if (known !== undefined) return [...bytes, 0xc0 | (known >> 8), known & 0xff];
    if (offset + bytes.length <= MAX_OFFSET) written?.set(key, offset + bytes.length);
    const label = labels[i]!;
    bytes.push(label.length);
    for (let c = 0; c < label.length; c++) bytes.push(label.charCodeAt(c));
  }
  bytes.push(0);
  return bytes;
}

/** What names are compared by: lower case; a dot or backslash inside of a label is told from one between labels. */
export function nameKey(labels: Labels): string {
  return spelled(labels).toLowerCase();
}

/** The labels of a canonical name. */
export function labelsOf(name: string): Labels {
  return name === "" ? [] : name.split(".");
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function spelled(labels: Labels): string {
  return labels.map((label) => label.replace(/[.\\]/g, "\\$&")).join(".");
}
