import type { Endpoint } from "./endpoint.ts";

/**
 * The connections that have something to do, in the order in which it came up. They have their turn when the code that read the link is
 * done, so all frames that came together are seen first. When the link is full they read, but wait to send.
 */
export class TouchedEndpoints {
  #waiting = new Set<Endpoint>();
  #scheduled = false;
  #held = false;

  get held(): boolean {
    return this.#held;
  }

  add(endpoint: Endpoint): void {
    this.#waiting.add(endpoint);
    this.#schedule();
  }

  /** The link is full. */
  hold(): void {
    this.#held = true;
  }

  resume(): void {
    this.#held = false;
    if (this.#waiting.size > 0) this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this.#run());
  }

  /** One turn each. Who is touched in a turn has the next one, unless the link is full: then `resume()` begins it. */
  #run(): void {
    while (this.#waiting.size > 0) {
      const turn = this.#waiting;
      this.#waiting = new Set();
      for (const endpoint of turn) endpoint.flush();
      if (this.#held) break;
    }
    this.#scheduled = false;
  }
}
