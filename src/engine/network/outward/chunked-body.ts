/**
 * Finds the end of a chunked body (RFC 9112, 7.1). Hostile input: sizes of at most 13 hexadecimal digits, lines of at most
 * 1,024 bytes that end in CR LF and in nothing else, 64 lines of trailers.
 */

const MAX_LINE = 1024;
const MAX_TRAILERS = 64;
const SIZE_LINE = /^([0-9A-Fa-f]{1,13})(?:[ \t]*;[\t\x20-\x7e]*)?$/;
const TRAILER = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*$/;

export class ChunkedBody {
  #state: "size" | "data" | "dataEnd" | "trailer" = "size";
  /** Bytes of the chunk that are still to come, with its CR LF. */
  #left = 0;
  #line = "";
  #trailers = 0;

  /** How many of the bytes from `at` belong to the body, and whether it is over with them; -1 for what is malformed. */
  take(chunk: Buffer, at: number): { taken: number; over: boolean } {
    let i = at;
    while (i < chunk.length) {
      if (this.#state === "data") {
        const taken = Math.min(this.#left, chunk.length - i);
        this.#left -= taken;
        i += taken;
        if (this.#left === 0) this.#state = "dataEnd";
        continue;
      }
      const end = chunk.indexOf(0x0a, i);
      const stop = end === -1 ? chunk.length : end + 1;
      this.#line += chunk.toString("latin1", i, stop);
      i = stop;
      if (this.#line.length > MAX_LINE) return BROKEN;
      if (end === -1) break;
      const next = this.#endLine();
      if (next === "broken") return BROKEN;
      if (next === "over") return { taken: i - at, over: true };
    }
    return { taken: i - at, over: false };
  }

  #endLine(): "on" | "over" | "broken" {
    if (!this.#line.endsWith("\r\n")) return "broken";
    const line = this.#line.slice(0, -2);
    this.#line = "";
    if (this.#state === "dataEnd") {
      this.#state = "size";
      return line === "" ? "on" : "broken";
    }
    if (this.#state === "trailer") {
      if (line === "") return "over";
      this.#trailers += 1;
      return TRAILER.test(line) && this.#trailers <= MAX_TRAILERS ? "on" : "broken";
    }
    const size = SIZE_LINE.exec(line);
    if (size === null) return "broken";
    this.#left = Number.parseInt(size[1]!, 16);
    this.#state = this.#left === 0 ? "trailer" : "data";
    return "on";
  }
}

const BROKEN = { taken: -1, over: false };
