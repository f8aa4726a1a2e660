import type { FileHandle } from "node:fs/promises";
import type { LogRecord } from "../../contract/index.ts";

const PIECE_BYTES = 256 * 1024;
/** No record is longer: one chunk of output, as JSON at its worst. What is longer is no record. */
const MAX_LINE_BYTES = 4 * 1024 * 1024;
const NEWLINE = 10;

/** A file of JSON lines, as far as it was written when it was opened. */
export interface LogSection {
  file: FileHandle;
  bytes: number;
}

/** The records of these files, one after the other, a piece at a time: memory does not grow with the log. Closes the files. */
export async function* recordsOf(sections: readonly LogSection[]): AsyncGenerator<LogRecord[]> {
  try {
    for (const section of sections) yield* recordsOfOne(section);
  } finally {
    await Promise.all(sections.map(({ file }) => file.close()));
  }
}

async function* recordsOfOne({ file, bytes }: LogSection): AsyncGenerator<LogRecord[]> {
  let rest: Buffer = Buffer.alloc(0);
  for (let at = 0; at < bytes; ) {
    const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, bytes - at));
    const { bytesRead } = await file.read(piece, 0, piece.length, at);
    if (bytesRead === 0) break;
    at += bytesRead;
    const text =
      rest.length === 0 ? piece.subarray(0, bytesRead) : Buffer.concat([rest, piece.subarray(0, bytesRead)]);
    const end = text.lastIndexOf(NEWLINE) + 1;
    rest = text.subarray(end);
    if (rest.length > MAX_LINE_BYTES) rest = Buffer.alloc(0);
    const records = text.toString("utf8", 0, end).split("\n").map(parse);
    yield records.filter((record) => record !== undefined);
  }
}

function parse(line: string): LogRecord | undefined {
  try {
    return JSON.parse(line) as LogRecord;
  } catch {
    return undefined;
  }
}
