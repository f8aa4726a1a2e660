/**
 * Writes frames to a capture file that Wireshark and tcpdump read (`draft-ietf-opsawg-pcap`: the classic format, times in
 * nanoseconds, Ethernet). Captures must not slow the link: what the disk does not take in time is left out and counted. Bounds: the file
 * has at most `maxBytes`, 8 MiB wait to be written.
 */
import { createWriteStream, type WriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { SandboxError } from "../../../contract/index.ts";
import type { FrameTap } from "./frame-link.ts";

const MAGIC_NANOSECONDS = 0xa1b23c4d;
const LINKTYPE_ETHERNET = 1;
const SNAPSHOT_BYTES = 262_144;
const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const MAX_WAITING = 8 * 1024 * 1024;
const DEFAULT_MAX_BYTES = 1024 ** 3;

export class PcapWriter implements FrameTap, AsyncDisposable {
  /** Frames that are not in the file: it was full, or the disk too slow. */
  left = 0;
  readonly #file: WriteStream;
  readonly #room: number;
  #bytes = FILE_HEADER;
  #failure: Error | undefined;

  private constructor(file: WriteStream, maxBytes: number) {
    this.#file = file;
    this.#room = maxBytes;
    file.on("error", (error) => {
      this.#failure = error;
    });
  }

  /**
   * Makes or replaces the file, readable by its owner only. Throws `invalid_argument` if that cannot be done.
   * @param options.maxBytes default 1 GiB
   */
  static async open(path: string, options: { maxBytes?: number } = {}): Promise<PcapWriter> {
    const file = createWriteStream(path, { mode: 0o600, highWaterMark: MAX_WAITING });
    await new Promise((resolve, reject) => {
      file.once("open", resolve);
      file.once("error", (cause) => {
        const hint = "Name a file in a folder that exists and may be written to.";
        reject(
          new SandboxError("invalid_argument", `cannot write to ${path}: ${cause.message}`, { hint, cause }),
        );
      });
    });
    const header = Buffer.alloc(FILE_HEADER);
    header.writeUInt32LE(MAGIC_NANOSECONDS, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(SNAPSHOT_BYTES, 16);
    header.writeUInt32LE(LINKTYPE_ETHERNET, 20);
    file.write(header);
    return new PcapWriter(file, options.maxBytes ?? DEFAULT_MAX_BYTES);
  }

  /** Copies the frame: what is sent may be kept by nobody for as long as a disk takes. */
  frame(parts: readonly Uint8Array[]): void {
    let length = 0;
    for (const part of parts) length += part.length;
    const size = RECORD_HEADER + length;
    const waiting = this.#file.writableLength + size;
    if (this.#bytes + size > this.#room || waiting > MAX_WAITING || this.#failure !== undefined) {
      this.left++;
      return;
    }
    const record = Buffer.allocUnsafe(size);
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
    this.#file.write(record);
    this.#bytes += size;
  }

  /** Resolves when all is in the file; a file that could not be written to the end is as good as it got. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#failure !== undefined) return;
    this.#file.end();
    await finished(this.#file).catch(() => {});
  }
}
