import { isUtf8 } from "node:buffer";
import type { LogRecord } from "../../contract/index.ts";

/** A chunk of output as a record: text where it is UTF-8 without NULs (each would take six bytes in JSON), else base64. */
export function outputRecord(
  process: number,
  stream: "stdout" | "stderr",
  offset: number,
  chunk: Buffer,
): LogRecord {
  return textRecord({ time: new Date().toISOString(), process, stream, offset }, chunk);
}

/** A record with these bytes. */
export function textRecord(
  { time, process, stream, offset }: Omit<LogRecord, "text" | "base64">,
  bytes: Buffer,
): LogRecord {
  const where = { time, process, stream, ...(offset === undefined ? {} : { offset }) };
  return isUtf8(bytes) && !bytes.includes(0)
    ? { ...where, text: bytes.toString("utf8") }
    : { ...where, base64: bytes.toString("base64") };
}
