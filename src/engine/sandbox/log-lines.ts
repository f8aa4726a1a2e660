import type { LogRecord } from "../../contract/index.ts";
import { textRecord } from "./log-record.ts";

/** A longer line is looked at in pieces of this many bytes. */
const MAX_LINE_BYTES = 64 * 1024;
/** Of so many streams at a time the beginning of a line is remembered. */
const MAX_OPEN_LINES = 1_024;
const NEWLINE = 10;

interface OpenLine {
  record: LogRecord;
  bytes: Buffer;
}

/**
 * Finds lines that contain a text. Records are pieces of output as they came, which need not be lines: those of each stream are
 * put together. The text is plain, no pattern: a pattern that takes for ever on what a guest wrote would stop the daemon.
 */
export class LogLines {
  private readonly wanted: Buffer;
  private readonly open = new Map<string, OpenLine>();

  constructor(text: string) {
    this.wanted = Buffer.from(text);
  }

  /** The lines that end with this record and are wanted, each with the time and the offset of its beginning. */
  take(record: LogRecord): LogRecord[] {
    const key = `${record.process}/${record.stream}`;
    const before = this.open.get(key);
    this.open.delete(key);
    const bytes =
      record.base64 === undefined ? Buffer.from(record.text ?? "") : Buffer.from(record.base64, "base64");
    // A gap (output that was dropped) ends a line.
    const joins = before !== undefined && record.offset === (before.record.offset ?? 0) + before.bytes.length;
    const found = before === undefined || joins ? [] : this.match(before.record, before.bytes);
    let first = joins ? before.record : record;
    let rest = joins ? Buffer.concat([before.bytes, bytes]) : bytes;
    while (rest.length > 0) {
      const newline = rest.indexOf(NEWLINE);
      const ends = newline >= 0 && newline < MAX_LINE_BYTES;
      if (!ends && rest.length < MAX_LINE_BYTES) break;
      const length = ends ? newline + 1 : MAX_LINE_BYTES;
      found.push(...this.match(first, rest.subarray(0, length)));
      first = { ...record, ...(first.offset === undefined ? {} : { offset: first.offset + length }) };
      rest = rest.subarray(length);
    }
    if (rest.length > 0) found.push(...this.remember(key, { record: first, bytes: rest }));
    return found;
  }

  rest(): LogRecord[] {
    const left = [...this.open.values()].flatMap(({ record, bytes }) => this.match(record, bytes));
    this.open.clear();
    return left;
  }

  private remember(key: string, line: OpenLine): LogRecord[] {
    this.open.set(key, line);
    if (this.open.size <= MAX_OPEN_LINES) return [];
    const [oldest, { record, bytes }] = this.open.entries().next().value!;
    this.open.delete(oldest);
    return this.match(record, bytes);
  }

  private match(record: LogRecord, line: Buffer): LogRecord[] {
    return line.includes(this.wanted) ? [textRecord(record, line)] : [];
  }
}
