/**
 * The file of a capture, opened so that it is nobody else's: a sandbox may own folders of the host, and others may write beside the file.
 * Bounds: of a file that is gone on with, one record is in memory at a time.
 */
import { constants } from "node:fs";
import { type FileHandle, open, readlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { SandboxError } from "../../../contract/errors.ts";
import { PCAP_HEADER, pcapHeader, RECORD_HEADER, recordLengthAt } from "./pcap-format.ts";

const { O_RDONLY, O_DIRECTORY, O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;

export interface CaptureFile {
  handle: FileHandle;
  /** Where what comes next belongs. */
  bytes: number;
}

/**
 * Makes the file, readable by its owner only. One that is there is replaced, or gone on with.
 * @throws `invalid_argument` for what cannot be written to or is no file of this user alone
 */
export async function openCaptureFile(path: string, goOn: boolean): Promise<CaptureFile> {
  let handle: FileHandle | undefined;
  try {
    const folder = dirname(path);
    await using opened = await open(folder, O_RDONLY | O_DIRECTORY);
    const at = `/proc/self/fd/${opened.fd}`;
    // Whoever put a link into the way, also between two of these lines, could have any file written over: it is asked what was
    // opened, and the file is opened below that.
    if ((await readlink(at)) !== folder) throw new Error("there is a link in its path");
    handle = await open(join(at, basename(path)), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
    const status = await handle.stat();
    const { uid, nlink, size } = status;
    if (!status.isFile()) throw new Error("it is no file");
    if (nlink !== 1) throw new Error("the file has another name too");
    if (uid !== process.geteuid?.()) throw new Error("the file is somebody else's");
    await handle.chmod(0o600);
    const bytes = goOn && size >= PCAP_HEADER ? await endOfRecords(handle, size) : 0;
    await handle.truncate(bytes);
    if (bytes === 0) await handle.write(pcapHeader(), 0, PCAP_HEADER, 0);
    return { handle, bytes: bytes || PCAP_HEADER };
  } catch (cause) {
    await handle?.close();
    const why = cause instanceof Error ? cause.message : cause;
    throw new SandboxError("invalid_argument", `cannot capture to ${path}: ${why}`, {
      hint: "Name a file in a folder that exists and may be written to.",
      cause,
    });
  }
}

/** Behind the last whole record: the daemon that wrote the file may have died in the middle of one. 0 for no capture of ours. */
async function endOfRecords(handle: FileHandle, size: number): Promise<number> {
  const header = Buffer.alloc(PCAP_HEADER);
  await handle.read(header, 0, PCAP_HEADER, 0);
  if (!header.equals(pcapHeader())) return 0;
  const record = Buffer.alloc(RECORD_HEADER);
  let at = PCAP_HEADER;
  for (;;) {
    const { bytesRead } = await handle.read(record, 0, RECORD_HEADER, at);
    const length = recordLengthAt(record.subarray(0, bytesRead), 0);
    if (length === undefined || at + length > size) return at;
    at += length;
  }
}
