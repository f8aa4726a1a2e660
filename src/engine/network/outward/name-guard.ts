import type { Guard, GuardResult, NameCheck } from "./guard.ts";
import { HttpGuard } from "./http-guard.ts";
import { TlsGuard } from "./tls-guard.ts";

/**
 * Finds out what a guest speaks on a connection that a name decides about, and has it checked before a byte goes out: TLS by its
 * first byte, HTTP by its first line. Other protocols carry no name that could be checked. On the ports of the web they are
 * refused where a name is required; elsewhere (SSH, mail, databases) the address that the sandbox was given for the name must do.
 *
 * Bounds: a first line of 8 KiB is waited for. What stays unclear is held, not let through; the caller's deadline ends it.
 */

export const WEB_PORTS: ReadonlySet<number> = new Set([80, 443, 853, 3128, 8000, 8008, 8080, 8443, 8888]);
const MAX_LINE = 8192;
const TLS_HANDSHAKE = 0x16;

export class NameGuard implements Guard {
  readonly #check: NameCheck;
  readonly #others: "refuse" | "pass";
  #first: Buffer = Buffer.alloc(0);
  #guard: Guard | undefined;

  /** `others`: what becomes of connections that are neither TLS nor HTTP. */
  constructor(check: NameCheck, others: "refuse" | "pass") {
    this.#check = check;
    this.#others = others;
  }

  push(chunk: Buffer): GuardResult {
    if (this.#guard !== undefined) return this.#guard.push(chunk);
    this.#first = Buffer.concat([this.#first, chunk]);
    const kind = kindOf(this.#first);
    if (kind === "unclear") return { pass: [] };
    if (kind === "other" && this.#others === "refuse")
      return {
        pass: [],
        refusal: { reason: "neither TLS nor HTTP, so no name can be checked", speaks: "unknown" },
      };
    if (kind === "http2")
      return {
        pass: [],
        refusal: { reason: "HTTP/2 without TLS, where names are not looked for", speaks: "unknown" },
      };
    if (kind === "tls") this.#guard = new TlsGuard(this.#check);
    else if (kind === "http") this.#guard = new HttpGuard(this.#check);
    else this.#guard = PASS;
    const first = this.#first;
    this.#first = Buffer.alloc(0);
    return this.#guard.push(first);
  }

  answered(chunk: Buffer): GuardResult | undefined {
    return this.#guard?.answered?.(chunk);
  }
}

const PASS: Guard = { push: (chunk) => ({ pass: [chunk] }) };

type Kind = "tls" | "http" | "http2" | "other" | "unclear";

function kindOf(bytes: Buffer): Kind {
  if (bytes[0] === TLS_HANDSHAKE) return "tls";
  // Servers skip empty lines before a request (RFC 9112, 2.2), and some other blanks.
  let start = 0;
  while (start < bytes.length && BLANKS.has(bytes[start]!)) start++;
  const end = bytes.indexOf(0x0a, start);
  const line = bytes.subarray(start, end === -1 ? bytes.length : end);
  // A NUL or a byte over 127 in the first words is no request's; after them a target may hold any byte.
  const binary = line.subarray(0, 16).some((byte) => byte < 0x20 && !BLANKS.has(byte));
  if (binary) return "other";
  if (end !== -1) {
    const text = line.toString("latin1").toUpperCase();
    if (text.startsWith("PRI * HTTP/2")) return "http2";
    return text.includes("HTTP/") ? "http" : "other";
  }
  // Held: a line that long is a request's or nobody's, and neither gets out.
  return bytes.length > MAX_LINE ? "http" : "unclear";
}

const BLANKS: ReadonlySet<number> = new Set([0x09, 0x0a, 0x0d, 0x20]);
