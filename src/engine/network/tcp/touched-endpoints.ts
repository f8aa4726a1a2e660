import type { Endpoint } from "./endpoint.ts";

/**
 * The connections that have something to do, in the order in which it came up. They have their turn when all that could be read was, of
 * the link and of the other sides: so all frames that came together are seen first, and what is sent goes out in one write.
 * When the link is full they read, but wait to send.
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

  /** For what has one turn of the event loop's patience: sockets are asked again in between. */
  addLater(endpoint: Endpoint): void {
    setImmediate(() => this.add(endpoint));
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
    setImmediate(() => this.#run());
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
