import type { IpAddress } from "../../../contract/ip-address.ts";
import type { Clock } from "./clock.ts";
import { FlowTable } from "./flow-table.ts";
import type { PendingRequest } from "./request.ts";

/** SYNs without an answer: no more than `limit`, none for longer than `lifeMs`. */
export class PendingRequests {
  readonly #table = new FlowTable<PendingRequest>();
  /** Those that are to have no answer, the oldest first: they are the ones to forget when room is needed. */
  readonly #dropped = new Set<PendingRequest>();
  readonly #limit: number;
  readonly #lifeMs: number;
  readonly #clock: Clock;

  constructor(limit: number, lifeMs: number, clock: Clock) {
    this.#limit = limit;
    this.#lifeMs = lifeMs;
    this.#clock = clock;
  }

  get size(): number {
    return this.#table.size;
  }

  get(
    guest: IpAddress,
    guestPort: number,
    remote: IpAddress,
    remotePort: number,
  ): PendingRequest | undefined {
    return this.#table.get(guest, guestPort, remote, remotePort);
  }

  /** False when there are too many: the guest's kernel will ask again. */
  add(request: PendingRequest): boolean {
    if (this.#table.size >= this.#limit) {
      const [oldest] = this.#dropped;
      if (oldest === undefined) return false;
      this.remove(oldest);
    }
    this.#table.add(request);
    request.cancelTimer = this.#clock.after(this.#lifeMs, () => this.abort(request, "ETIMEDOUT"));
    return true;
  }

  /** Keeps it, without an answer. */
  drop(request: PendingRequest): void {
    request.settled = request.dropped = true;
    this.#dropped.add(request);
  }

  remove(request: PendingRequest): void {
    request.settled = true;
    request.cancelTimer?.();
    this.#dropped.delete(request);
    this.#table.delete(request);
  }

  abort(request: PendingRequest, code: "ECONNRESET" | "ETIMEDOUT" | "ECONNABORTED"): void {
    request.abort(code);
    this.remove(request);
  }

  abortAll(): void {
    for (const request of this.#table.all()) this.abort(request, "ECONNABORTED");
  }
}
