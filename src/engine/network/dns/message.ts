import { CLASS_IN, TYPE } from "./record-types.ts";
import { type Labels, nameBytes, readName, type WrittenNames } from "./wire-name.ts";

/**
 * DNS messages (RFC 1035, EDNS of RFC 6891), read and written. Hostile input from both sides, guests and resolvers: a message is
 * at most 65,535 bytes, has one question and at most 1,024 records; anything malformed makes the whole undefined, nothing throws.
 * Data of records is opaque, except that names in it which may be compressed are written out, so that a record can move into
 * another message.
 */

export interface DnsQuestion {
  labels: Labels;
  type: number;
  class: number;
}

export interface DnsRecord {
  labels: Labels;
  type: number;
  class: number;
  /** Seconds. */
  ttl: number;
  /** Without compressed names. */
  data: Uint8Array;
}

export interface Edns {
  /** Largest answer over UDP that the sender takes, bytes. */
  size: number;
  version: number;
  /** Wants signatures. */
  dnssec: boolean;
}

export interface DnsMessage {
  id: number;
  response: boolean;
  opcode: number;
  authoritative: boolean;
  truncated: boolean;
  recursionDesired: boolean;
  recursionAvailable: boolean;
  authenticData: boolean;
  checkingDisabled: boolean;
  /** With the upper bits of EDNS. */
  rcode: number;
  question: DnsQuestion;
  answers: DnsRecord[];
  authority: DnsRecord[];
  /** Without the OPT record. */
  additional: DnsRecord[];
  edns: Edns | undefined;
}

const HEADER = 12;
const MAX_MESSAGE = 65_535;
const MAX_RECORDS = 1024;

export function parseMessage(bytes: Uint8Array): DnsMessage | undefined {
  if (bytes.length < HEADER || bytes.length > MAX_MESSAGE) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const flags = view.getUint16(2);
  const counts = [6, 8, 10].map((at) => view.getUint16(at)) as [number, number, number];
  if (view.getUint16(4) !== 1 || counts[0] + counts[1] + counts[2] > MAX_RECORDS) return undefined;
  const name = readName(bytes, HEADER);
  if (name === undefined || name.end + 4 > bytes.length) return undefined;
  const question = {
    labels: name.labels,
    type: view.getUint16(name.end),
    class: view.getUint16(name.end + 2),
  };
  const sections: DnsRecord[][] = [];
  let at = name.end + 4;
  for (const count of counts) {
    const section: DnsRecord[] = [];
    for (let i = 0; i < count; i++) {
      const record = readRecord(bytes, view, at);
      if (record === undefined) return undefined;
      section.push(record.record);
      at = record.end;
    }
    sections.push(section);
  }
  const [answers, authority, more] = sections as [DnsRecord[], DnsRecord[], DnsRecord[]];
  const options = [...answers, ...authority, ...more].filter(({ type }) => type === TYPE.OPT);
  if (options.length > 1 || (options.length === 1 && !more.includes(options[0]!))) return undefined;
  const option = options[0];
  return {
    id: view.getUint16(0),
    response: (flags & 0x8000) !== 0,
    opcode: (flags >> 11) & 0xf,
    authoritative: (flags & 0x400) !== 0,
    truncated: (flags & 0x200) !== 0,
    recursionDesired: (flags & 0x100) !== 0,
    recursionAvailable: (flags & 0x80) !== 0,
    authenticData: (flags & 0x20) !== 0,
    checkingDisabled: (flags & 0x10) !== 0,
    rcode: (flags & 0xf) | (option === undefined ? 0 : (option.ttl >>> 24) << 4),
    question,
    answers,
    authority,
    additional: more.filter((record) => record !== option),
    edns: option && {
      size: option.class,
      version: (option.ttl >>> 16) & 0xff,
      dnssec: (option.ttl & 0x8000) !== 0,
    },
  };
}

/** `options` are those of the OPT record, which is there when `edns` is. Names of owners are compressed. */
export function buildMessage(message: DnsMessage, options: Uint8Array = new Uint8Array()): Buffer {
  const { question, edns } = message;
  const flags =
    (message.response ? 0x8000 : 0) |
    (message.opcode << 11) |
    (message.authoritative ? 0x400 : 0) |
    (message.truncated ? 0x200 : 0) |
    (message.recursionDesired ? 0x100 : 0) |
    (message.recursionAvailable ? 0x80 : 0) |
    (message.authenticData ? 0x20 : 0) |
    (message.checkingDisabled ? 0x10 : 0) |
    (message.rcode & 0xf);
  const option: DnsRecord[] = edns === undefined ? [] : [optRecord(edns, message.rcode, options)];
  const additional = [...message.additional, ...option];
  const counts = [1, message.answers.length, message.authority.length, additional.length];
  const written: WrittenNames = new Map();
  const parts: Uint8Array[] = [words([message.id, flags, ...counts])];
  let offset = HEADER;
  const put = (part: Uint8Array) => {
    parts.push(part);
    offset += part.length;
  };
  put(Uint8Array.from(nameBytes(question.labels, offset, written)));
  put(words([question.type, question.class]));
  for (const record of [...message.answers, ...message.authority, ...additional]) {
    put(Uint8Array.from(nameBytes(record.labels, offset, written)));
    put(words([record.type, record.class, record.ttl >>> 16, record.ttl & 0xffff, record.data.length]));
    put(record.data);
  }
  return Buffer.concat(parts);
}

/** An empty answer to a query, with the query's id and question. */
export function answerTo(query: DnsMessage, rcode: number): DnsMessage {
  return {
    ...query,
    response: true,
    authoritative: false,
    truncated: false,
    recursionAvailable: true,
    authenticData: false,
    rcode,
    answers: [],
    authority: [],
    additional: [],
    edns: query.edns && { size: OUR_SIZE, version: 0, dnssec: query.edns.dnssec },
  };
}

/** What goes through every path without fragments (DNS flag day 2020). */
export const OUR_SIZE = 1232;

function optRecord(edns: Edns, rcode: number, data: Uint8Array): DnsRecord {
  const ttl = (((rcode >> 4) << 24) | (edns.version << 16) | (edns.dnssec ? 0x8000 : 0)) >>> 0;
  return { labels: [], type: TYPE.OPT, class: edns.size, ttl, data };
}

function words(values: number[]): Uint8Array {
  return Uint8Array.from(values.flatMap((value) => [(value >> 8) & 0xff, value & 0xff]));
}

function readRecord(
  bytes: Uint8Array,
  view: DataView,
  offset: number,
): { record: DnsRecord; end: number } | undefined {
  const name = readName(bytes, offset);
  if (name === undefined || name.end + 10 > bytes.length) return undefined;
  const start = name.end + 10;
  const end = start + view.getUint16(name.end + 8);
  if (end > bytes.length) return undefined;
  const type = view.getUint16(name.end);
  const recordClass = view.getUint16(name.end + 2);
  const data =
    recordClass === CLASS_IN
      ? writtenOut(bytes, type, start, end)
      : Uint8Array.from(bytes.subarray(start, end));
  if (data === undefined) return undefined;
  const ttl = view.getUint32(name.end + 4);
  return { record: { labels: name.labels, type, class: recordClass, ttl, data }, end };
}

/** How many bytes stand before the names in a record's data, how many names there are, and how many bytes after. */
const NAMES_IN_DATA: Record<number, readonly [before: number, names: number, after: number]> = {
  [TYPE.NS]: [0, 1, 0],
  [TYPE.CNAME]: [0, 1, 0],
  [TYPE.PTR]: [0, 1, 0],
  [TYPE.DNAME]: [0, 1, 0],
  [TYPE.MX]: [2, 1, 0],
  [TYPE.SRV]: [6, 1, 0],
  [TYPE.SOA]: [0, 2, 20],
};

function writtenOut(bytes: Uint8Array, type: number, start: number, end: number): Uint8Array | undefined {
  if (type === TYPE.A && end - start !== 4) return undefined;
  if (type === TYPE.AAAA && end - start !== 16) return undefined;
  const form = NAMES_IN_DATA[type];
  if (form === undefined) return Uint8Array.from(bytes.subarray(start, end));
  const [before, names, after] = form;
  let at = start + before;
  const data = [...bytes.subarray(start, Math.min(at, end))];
  for (let i = 0; i < names; i++) {
    const name = readName(bytes, at);
    if (name === undefined || name.end > end) return undefined;
    data.push(...nameBytes(name.labels));
    at = name.end;
  }
  if (at + after !== end) return undefined;
  return Uint8Array.from([...data, ...bytes.subarray(at, end)]);
}
