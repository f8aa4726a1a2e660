import { connect, type Socket } from "node:net";

/**
 * The other end of a sandbox's link, by hand: reads and writes frames on the machine's network socket, and answers what pings it. It
 * stands for the network where a test is about the link itself.
 */

const LENGTH_BYTES = 4;
const ETHERNET = 14;
const KEPT_FRAMES = 1_000;

export class LinkPeer implements AsyncDisposable {
  /** Frames of the guest, oldest first; the last 1,000. */
  readonly frames: Buffer[] = [];
  readonly #socket: Socket;
  #rest = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("error", () => {});
  }

  /** @param options.reads default true; a peer that does not is one that hangs */
  static async connect(path: string, options: { reads?: boolean } = {}): Promise<LinkPeer> {
    const socket = connect(path);
    await new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    const peer = new LinkPeer(socket);
    if (options.reads === false) socket.pause();
    else socket.on("data", (chunk) => peer.#receive(chunk));
    return peer;
  }

  /** Writes bytes as they are, also what is no frame. */
  write(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  send(frame: Uint8Array): void {
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt32BE(frame.length);
    this.write(Buffer.concat([length, frame]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#socket.once("close", resolve));
    if (this.#socket.closed) return;
    this.#socket.destroy();
    await closed;
  }

  #receive(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + this.#rest.readUInt32BE();
      if (this.#rest.length < end) return;
      const frame = Buffer.from(this.#rest.subarray(LENGTH_BYTES, end));
      this.#rest = this.#rest.subarray(end);
      this.frames.push(frame);
      if (this.frames.length > KEPT_FRAMES) this.frames.shift();
      const answer = echoReply(frame);
      if (answer !== undefined) this.send(answer);
    }
  }
}

/** The answer to an echo request of IPv4 or IPv6 without options, which differs only in who sent it and in one byte. */
function echoReply(frame: Buffer): Buffer | undefined {
  const reply = Buffer.from(frame);
  frame.copy(reply, 0, 6, 12);
  frame.copy(reply, 6, 0, 6);
  const type = frame.readUInt16BE(12);
  if (type === 0x0800 && frame[ETHERNET + 9] === 1 && frame[ETHERNET + 20] === 8) {
    swap(reply, ETHERNET + 12, 4);
    return changeType(reply, ETHERNET + 20, 0);
  }
  if (type === 0x86dd && frame[ETHERNET + 6] === 58 && frame[ETHERNET + 40] === 128) {
    swap(reply, ETHERNET + 8, 16);
    return changeType(reply, ETHERNET + 40, 129);
  }
  return undefined;
}

function swap(frame: Buffer, at: number, length: number): void {
  const first = Buffer.from(frame.subarray(at, at + length));
  frame.copy(frame, at, at + length, at + 2 * length);
  first.copy(frame, at + length);
}

/** RFC 1624, eqn. 3: the checksum follows from what has changed. */
function changeType(frame: Buffer, at: number, type: number): Buffer {
  const before = frame.readUInt16BE(at);
  frame[at] = type;
  let sum = (~frame.readUInt16BE(at + 2) & 0xffff) + (~before & 0xffff) + frame.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame.writeUInt16BE(~sum & 0xffff, at + 2);
  return frame;
}
