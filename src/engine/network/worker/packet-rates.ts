import type { NetworkLimits } from "../../../contract/network.ts";
import { TokenBucket } from "../outward/token-bucket.ts";

/**
 * How many frames a second a sandbox may send and receive. What it sends beyond that is dropped, since its VMM's writes would block
 * the guest; its own TCP goes slower then. Towards it connections are told to wait, and everything else is dropped.
 *
 * Bounds: a tenth of a second's worth at once each way.
 */

type Limits = Pick<NetworkLimits, "egressPacketsPerSecond" | "ingressPacketsPerSecond">;

export class PacketRates implements Disposable {
  readonly #egress: TokenBucket;
  readonly #ingress: TokenBucket;
  readonly #resume: () => void;
  #timer: NodeJS.Timeout | undefined;

  /** `resume` is called when frames may go to the guest again. */
  constructor(limits: Limits, resume: () => void, now?: () => number) {
    this.#egress = new TokenBucket(limits.egressPacketsPerSecond, now);
    this.#ingress = new TokenBucket(limits.ingressPacketsPerSecond, now);
    this.#resume = resume;
  }

  limit(limits: Limits): void {
    this.#egress.limit(limits.egressPacketsPerSecond);
    this.#ingress.limit(limits.ingressPacketsPerSecond);
    this.#goOn();
  }

  /** Whether a frame of the guest is taken. */
  egress(): boolean {
    return this.#egress.tryTake(1);
  }

  /** Whether a frame to the guest may go. Whoever has others is to wait from when `full` says so. */
  ingress(): boolean {
    return this.#ingress.tryTake(1);
  }

  /** Nothing more may go to the guest now: `resume` will be called. */
  get full(): boolean {
    const ms = this.#ingress.emptyForMs;
    if (ms > 0) this.#timer ??= setTimeout(() => this.#goOn(), ms);
    return ms > 0;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #goOn(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#resume();
  }
}
