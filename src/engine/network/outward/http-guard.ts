import { ChunkedBody } from "./chunked-body.ts";
import type { Guard, GuardResult, NameCheck } from "./guard.ts";
import { parseHttpHead } from "./http-head.ts";

/**
 * Follows the requests of an HTTP/1 client and checks the host of each: a connection that began with an allowed name may go on
 * with another. A WebSocket is let through once the server has agreed (101), and only as the first request, when there is no
 * doubt whose answer that is. An upgrade to HTTP/2 is not: what follows it would have to be a request and is none, so the
 * connection ends. HTTP/2 from the first byte on ("prior knowledge") is refused.
 *
 * Bounds: a head of 32 KiB; 64 KiB while a server thinks about a WebSocket.
 */

const MAX_HEAD = 32 * 1024;
const MAX_WAITING = 64 * 1024;
const END_OF_HEAD = "\r\n\r\n";

export class HttpGuard implements Guard {
  readonly #check: NameCheck;
  #state: "head" | "length" | "chunked" | "switching" | "open" = "head";
  #head: Buffer = Buffer.alloc(0);
  #headBytes = 0;
  #bodyLeft = 0;
  #chunks = new ChunkedBody();
  #requests = 0;
  /** The begin of the server's answer to the upgrade. */
  #answer = "";
  #waiting: Buffer[] = [];

  constructor(check: NameCheck) {
    this.#check = check;
  }

  push(chunk: Buffer): GuardResult {
    const pass: Buffer[] = [];
    let at = 0;
    while (at < chunk.length) {
      const before = at;
      if (this.#state === "open") at = chunk.length;
      else if (this.#state === "switching") {
        this.#waiting.push(chunk.subarray(at));
        const waiting = this.#waiting.reduce((sum, each) => sum + each.length, 0);
        return waiting > MAX_WAITING
          ? this.#refuse(pass, "too much after an upgrade that was not answered")
          : { pass };
      } else if (this.#state === "length") {
        const taken = Math.min(this.#bodyLeft, chunk.length - at);
        this.#bodyLeft -= taken;
        at += taken;
        if (this.#bodyLeft === 0) this.#state = "head";
      } else if (this.#state === "chunked") {
        const { taken, over } = this.#chunks.take(chunk, at);
        if (taken === -1) return this.#refuse(pass, "a chunked body that is malformed");
        at += taken;
        if (over) this.#state = "head";
      } else {
        const { taken, head, problem } = this.#takeHead(chunk, at);
        if (problem !== undefined) return this.#refuse(pass, problem);
        at += taken;
        if (head !== undefined) pass.push(head);
        continue;
      }
      if (at > before) pass.push(chunk.subarray(before, at));
    }
    return { pass };
  }

  answered(chunk: Buffer): GuardResult | undefined {
    if (this.#state !== "switching") return undefined;
    this.#answer += chunk.toString("latin1", 0, 12);
    if (this.#answer.length < 12) return undefined;
    this.#state = this.#answer.startsWith("HTTP/1.1 101") ? "open" : "head";
    const pass: Buffer[] = [];
    for (const waiting of this.#waiting.splice(0)) {
      const result = this.push(waiting);
      pass.push(...result.pass);
      if (result.refusal !== undefined) return { pass, refusal: result.refusal };
    }
    return { pass };
  }

  /** Takes bytes until the head is whole and checked. */
  #takeHead(chunk: Buffer, at: number): { taken: number; head?: Buffer; problem?: string } {
    if (this.#head.length === 0) this.#head = Buffer.allocUnsafe(MAX_HEAD);
    const before = this.#headBytes;
    const copied = chunk.copy(this.#head, before, at);
    const known = this.#head.subarray(0, before + copied);
    const end = known.indexOf(END_OF_HEAD, Math.max(0, before - 3));
    if (end === -1) {
      this.#headBytes = known.length;
      return known.length === MAX_HEAD
        ? { taken: 0, problem: "a request with a head of more than 32 KiB" }
        : { taken: copied };
    }
    const head = Buffer.from(known.subarray(0, end + END_OF_HEAD.length));
    this.#headBytes = 0;
    this.#head = Buffer.alloc(0);
    const problem = this.#enter(head.toString("latin1", 0, end));
    return { taken: head.length - before, head, ...(problem === undefined ? {} : { problem }) };
  }

  #enter(text: string): string | undefined {
    const head = parseHttpHead(text);
    if ("error" in head) return head.error;
    const refused = this.#check(head.host);
    if (refused !== undefined) return refused;
    this.#requests += 1;
    if (head.webSocket && head.body.kind === "none") {
      if (this.#requests > 1) return "a WebSocket on a connection that was used before";
      this.#state = "switching";
    } else if (head.body.kind === "chunked") {
      this.#chunks = new ChunkedBody();
      this.#state = "chunked";
    } else if (head.body.kind === "length" && head.body.bytes > 0) {
      this.#bodyLeft = head.body.bytes;
      this.#state = "length";
    }
    return undefined;
  }

  /** After the first request an answer may be on its way, into which no page can be put. */
  #refuse(pass: Buffer[], reason: string): GuardResult {
    return { pass, refusal: { reason, speaks: this.#requests === 0 ? "http" : "unknown" } };
  }
}
