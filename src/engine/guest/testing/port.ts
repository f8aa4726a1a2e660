import { Duplex } from "node:stream";
import { ModelGuest } from "./model-guest.ts";

/**
 * The virtio-serial port between a host and a model guest, for tests. Hosts come and go; the guest stays. It can
 * cut a host off after any byte of either direction, and then keeps what the guest had sent for the next host, as
 * a real port's queue does.
 */
export class ModelPort {
  readonly guest: ModelGuest;
  /** Whether the guest is told that a host has gone. It need not be: a stored state does not know. */
  tellsGuest = true;
  #host: HostEnd | undefined;
  #stale: Buffer[] = [];

  constructor() {
    this.guest = new ModelGuest((bytes) => this.#toHost(bytes));
  }

  /**
   * A new host's stream.
   *
   * @param cut cuts it off after so many bytes to the guest, or from it
   */
  connect(cut: { toGuest?: number; fromGuest?: number } = {}): Duplex {
    this.#host?.destroy();
    const host = new HostEnd(
      cut.toGuest ?? Infinity,
      cut.fromGuest ?? Infinity,
      (bytes) => this.guest.receive(bytes),
      () => {
        if (this.#host !== host) return;
        this.#host = undefined;
        if (this.tellsGuest) this.guest.hostGone();
      },
    );
    this.#host = host;
    for (const bytes of this.#stale.splice(0)) this.#toHost(bytes);
    return host;
  }

  /** Cuts the connected host off now. */
  cut(): void {
    this.#host?.destroy();
  }

  #toHost(bytes: Buffer): void {
    const sent = this.#host === undefined ? 0 : this.#host.give(bytes);
    if (sent < bytes.length) this.#stale.push(Buffer.from(bytes.subarray(sent)));
  }
}

class HostEnd extends Duplex {
  #toGuest: number;
  #fromGuest: number;
  readonly #deliver: (bytes: Buffer) => void;
  readonly #gone: () => void;

  constructor(toGuest: number, fromGuest: number, deliver: (bytes: Buffer) => void, gone: () => void) {
    super();
    this.#toGuest = toGuest;
    this.#fromGuest = fromGuest;
    this.#deliver = deliver;
    this.#gone = gone;
  }

  /** Bytes that reached the host. */
  give(bytes: Buffer): number {
    if (this.destroyed) return 0;
    const length = Math.min(bytes.length, this.#fromGuest);
    this.#fromGuest -= length;
    // A copy, as a socket gives: the guest's buffers are its own.
    if (length > 0) this.push(Buffer.from(bytes.subarray(0, length)));
    if (this.#fromGuest === 0) setImmediate(() => this.destroy());
    return length;
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const length = Math.min(bytes.length, this.#toGuest);
    this.#toGuest -= length;
    if (length > 0) this.#deliver(Buffer.from(bytes.subarray(0, length)));
    if (this.#toGuest === 0) this.destroy();
    // A turn of the event loop, so that guest and host take turns as they do over a socket.
    else setImmediate(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#gone();
    done(error);
  }
}
