import { SandboxError } from "../../contract/errors.ts";
import { type FuseRequest, MAX_REQUEST_BYTES, REQUEST_HEADER_BYTES } from "./fuse-protocol.ts";

export const NONCE_BYTES = 16;
export const SYNC_MAGIC = Buffer.from("ffffffff4d53422d464f4c444552ffff", "hex");
/** Zeros that complete, and spoil, an answer that an earlier daemon left unfinished. */
const FILLER_BYTES = MAX_REQUEST_BYTES + 17;
/** What may come before the synchronization: all that the agent keeps of a stream, twice. */
const MAX_STALE_BYTES = 4 * 1024 * 1024;
/** Requests that the relay may keep, and so send again. */
const MAX_REPEATED = 1024 * 1024;

/** What is sent to the relay first. */
export function syncMessage(nonce: Buffer, filler: boolean): Buffer {
  return Buffer.concat([Buffer.alloc(filler ? FILLER_BYTES : 0), SYNC_MAGIC, nonce]);
}

/**
 * Cuts what the relay writes into requests (spec/agent-protocol.md, "folder"). The guest is hostile: whatever comes, the
 * memory held is that of one request, and what is no request ends the folder with `internal`.
 */
export class RequestStream {
  readonly #expected: Buffer;
  #state: "hunting" | "count" | "requests" = "hunting";
  #rest: Buffer = Buffer.alloc(0);
  #skipped = 0;
  #repeated = 0;

  constructor(nonce: Buffer) {
    this.#expected = Buffer.concat([SYNC_MAGIC, nonce]);
  }

  get synchronized(): boolean {
    return this.#state === "requests";
  }

  /** Takes what has come. To be iterated to its end before the next push. @throws SandboxError `internal` */
  *push(chunk: Buffer): Generator<FuseRequest> {
    let data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = Buffer.alloc(0);
    if (this.#state === "hunting") {
      const at = data.indexOf(this.#expected);
      this.#skipped += at < 0 ? chunk.length : at;
      if (this.#skipped > MAX_STALE_BYTES) throw broken("does not synchronize");
      if (at < 0) {
        this.#rest = Buffer.from(data.subarray(Math.max(0, data.length - this.#expected.length + 1)));
        return;
      }
      data = data.subarray(at + this.#expected.length);
      this.#state = "count";
    }
    if (this.#state === "count") {
      if (data.length < 4) {
        this.#rest = Buffer.from(data);
        return;
      }
      this.#repeated = data.readUInt32LE(0);
      if (this.#repeated > MAX_REPEATED) throw broken("repeats too many requests");
      data = data.subarray(4);
      this.#state = "requests";
    }
    let at = 0;
    while (data.length - at >= REQUEST_HEADER_BYTES) {
      const length = data.readUInt32LE(at);
      if (length < REQUEST_HEADER_BYTES || length > MAX_REQUEST_BYTES)
        throw broken(`has a request of ${length} bytes`);
      if (data.length - at < length) break;
      const request = readRequest(data.subarray(at, at + length), this.#repeated > 0);
      if (this.#repeated > 0) this.#repeated -= 1;
      at += length;
      yield request;
    }
    // A copy: a few bytes must not keep the whole chunk.
    if (at < data.length) this.#rest = Buffer.from(data.subarray(at));
  }
}

function readRequest(bytes: Buffer, repeated: boolean): FuseRequest {
  const node = bytes.readBigUInt64LE(16);
  return {
    opcode: bytes.readUInt32LE(4),
    unique: bytes.subarray(8, 16),
    // No number of ours is above: that one is of no node.
    node: node > BigInt(Number.MAX_SAFE_INTEGER) ? 0 : Number(node),
    body: bytes.subarray(REQUEST_HEADER_BYTES),
    repeated,
  };
}

function broken(what: string): SandboxError {
  return new SandboxError("internal", `the guest's end of a host folder ${what}`);
}
