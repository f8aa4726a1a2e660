import type { FileHandle } from "node:fs/promises";
import type { LogRecord } from "../../contract/index.ts";
import { LineSplitter } from "./line-splitter.ts";

const PIECE_BYTES = 256 * 1024;

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
  const lines = new LineSplitter();
  const piece = Buffer.allocUnsafe(PIECE_BYTES);
  for (let at = 0; at < bytes; ) {
    const { bytesRead } = await file.read(piece, 0, Math.min(PIECE_BYTES, bytes - at), at);
    if (bytesRead === 0) break;
    at += bytesRead;
    const records = lines.push(piece.subarray(0, bytesRead)).map(parseRecord);
    yield records.filter((record) => record !== undefined);
  }
}

/** A line of the log; undefined for what is none, such as what a daemon wrote while it died: its bytes came again. */
export function parseRecord(line: string): LogRecord | undefined {
  try {
    return JSON.parse(line) as LogRecord;
  } catch {
    return undefined;
  }
}
