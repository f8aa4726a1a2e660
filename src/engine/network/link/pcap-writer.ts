/**
 * Writes frames to a capture file. Captures must not slow the link: what the disk does not take in time is left out and counted.
 * Bounds: the file has at most `maxBytes`, 8 MiB wait to be written.
 */
import type { WriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { openCaptureFile } from "./capture-file.ts";
import type { FrameTap } from "./frame-link.ts";
import { pcapRecord, recordBytes } from "./pcap-format.ts";

const MAX_WAITING = 8 * 1024 * 1024;

export interface PcapWriterOptions {
  maxBytes: number;
  /** Go on with the file that is there, if it is one of these. Default: replace it. */
  goOn?: boolean;
  /** Once: nothing more is written, and why. */
  ended?(reason: string): void;
}

export class PcapWriter implements FrameTap, AsyncDisposable {
  /** Frames that are not in the file: it was full, or the disk too slow. */
  left = 0;
  readonly #file: WriteStream;
  readonly #options: PcapWriterOptions;
  #bytes: number;
  #ended = false;

  private constructor(file: WriteStream, bytes: number, options: PcapWriterOptions) {
    this.#file = file;
    this.#bytes = bytes;
    this.#options = options;
    file.on("error", (error) => this.#end(error.message));
  }

  /** Throws `invalid_argument` for a file that cannot be written to, or is not this user's alone. */
  static async open(path: string, options: PcapWriterOptions): Promise<PcapWriter> {
    const { handle, bytes } = await openCaptureFile(path, options.goOn ?? false);
    const file = handle.createWriteStream({ start: bytes, highWaterMark: MAX_WAITING });
    return new PcapWriter(file, bytes, options);
  }

  frame(parts: readonly Uint8Array[]): void {
    const size = recordBytes(parts);
    if (this.#bytes + size > this.#options.maxBytes) this.#end(`it has its ${this.#options.maxBytes} bytes`);
    if (this.#ended || this.#file.writableLength + size > MAX_WAITING) {
      this.left++;
      return;
    }
    this.#file.write(pcapRecord(parts));
    this.#bytes += size;
  }

  /** Resolves when all is in the file; a file that could not be written to the end is as good as it got. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#file.end();
    await finished(this.#file).catch(() => {});
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#options.ended?.(reason);
  }
}
