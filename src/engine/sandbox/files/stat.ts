import {
  type DiskUsage,
  FILE_TYPES,
  type FileEntry,
  type FileStat,
  MAX_PATH_BYTES,
} from "../../../contract/index.ts";
import { type Fields, intOf, uintOf, violation } from "../../guest/index.ts";
import { pathText } from "./path-bytes.ts";

/** What the guest tells of files, read field by field. */

const MAX_ID = 2 ** 32 - 1;
const MAX_NANOSECONDS = 999_999_999;

export function readStat(reply: Fields): FileStat {
  const type = FILE_TYPES.find((one) => one === reply.word("type", 16));
  if (type === undefined) throw violation("a type of file that there is not");
  return {
    type,
    size: reply.uint("size"),
    mode: reply.uint("mode", 0o7777),
    uid: reply.uint("uid", MAX_ID),
    gid: reply.uint("gid", MAX_ID),
    links: reply.uint("links"),
    diskBytes: reply.uint("blocks", 2 ** 44) * 512,
    mtimeMs: timeMs(reply, "mtime"),
    atimeMs: timeMs(reply, "atime"),
    ctimeMs: timeMs(reply, "ctime"),
    ...(reply.has("target") ? { target: readPath(reply, "target") } : {}),
  };
}

export function readEntry(entry: Fields): FileEntry {
  return { path: readPath(entry, "path"), ...readStat(entry) };
}

export function readPath(reply: Fields, key: string): string {
  return pathText(reply.bytes(key, MAX_PATH_BYTES));
}

export function readUsage(reply: Fields): DiskUsage {
  return {
    diskBytes: reply.uint("disk"),
    apparentBytes: reply.uint("apparent"),
    entries: reply.uint("entries"),
  };
}

function timeMs(reply: Fields, key: string): number {
  const [seconds, nanoseconds] = reply.list(key, 2);
  return intOf(seconds, key) * 1000 + uintOf(nanoseconds, MAX_NANOSECONDS, key) / 1e6;
}

/** Seconds and nanoseconds of a time in milliseconds. */
export function timeOf(ms: number | undefined): [number, number] | undefined {
  if (ms === undefined) return undefined;
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.min(MAX_NANOSECONDS, Math.round((ms - seconds * 1000) * 1e6))];
}
