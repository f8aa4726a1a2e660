/** What one sandbox may hold of its host, and how patient the terminator is with it. */
export interface TcpLimits {
  /** Connections at one time, those in TIME-WAIT included. */
  connections: number;
  /** SYNs that wait for an answer, or are to have none. */
  requests: number;
  /** Bytes received and not yet read, and bytes written and not yet acknowledged, of all connections. */
  bufferBytes: number;
  /** How long a guest may take to answer a SYN of ours, in milliseconds. */
  handshakeMs: number;
  /** How long a request may stay unanswered: a kernel stops asking after about 130 s. */
  requestMs: number;
  /** Silence while an answer is due, after which the guest is given up. */
  silenceMs: number;
  /** Silence of all connections after which the guest is taken to be paused, and none of them is given up. */
  absentMs: number;
  /** Silence without anything to say, after which the guest is asked whether it is still there. */
  keepAliveMs: number;
  /** Between one such question and the next. */
  keepAliveIntervalMs: number;
  /**
   * TIME-WAIT. Nothing on this link outlives its queues, so no old segment can be taken for one of a later connection; it need only be
   * longer than a kernel takes to send its FIN again, 200 ms to 3 s, should our acknowledgment be lost.
   */
  timeWaitMs: number;
  /** How long a small segment may wait to be acknowledged along with an answer. */
  delayedAckMs: number;
}

export const DEFAULT_LIMITS: TcpLimits = {
  connections: 1024,
  requests: 256,
  bufferBytes: 64 * 1024 * 1024,
  handshakeMs: 30_000,
  requestMs: 150_000,
  silenceMs: 180_000,
  // More than the longest wait between two questions to a guest that would answer.
  absentMs: 65_000,
  keepAliveMs: 120_000,
  keepAliveIntervalMs: 15_000,
  timeWaitMs: 5000,
  // Less than a kernel's 40: a program that writes twice with Nagle's algorithm on waits for this one.
  delayedAckMs: 5,
};

const LARGEST_SHARE = 512 * 1024;
const SMALLEST_SHARE = 16 * 1024;

/** Bytes in the queues of one direction, over all connections. The queues keep it right themselves. */
export class Meter {
  bytes = 0;
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get exhausted(): boolean {
    return this.bytes >= this.#limit;
  }
}

/**
 * Who holds how much of `bufferBytes`: one half is for each direction, since a guest that does not read must not keep
 * us from taking what it sends. Each connection may fill its share of a half; shares shrink as connections come, but what
 * was promised stays promised, so when a half is full, more is refused whatever was promised.
 */
export class Budget {
  readonly received: Meter;
  readonly written: Meter;
  /** Connections that somebody uses: not one in TIME-WAIT, but one that is over and not read to its end. */
  connections = 0;
  readonly #half: number;

  constructor(limit: number) {
    this.#half = Math.floor(limit / 2);
    this.received = new Meter(this.#half);
    this.written = new Meter(this.#half);
  }

  get bytes(): number {
    return this.received.bytes + this.written.bytes;
  }

  /** Bytes that one direction of one connection may hold. */
  get share(): number {
    const fair = Math.floor(this.#half / Math.max(1, this.connections));
    return Math.max(SMALLEST_SHARE, Math.min(LARGEST_SHARE, fair));
  }
}
