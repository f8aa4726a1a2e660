/** Released channels whose last frames may still be on their way. */
const REMEMBERED = 4_096;

/** The channels that were released last: a frame on one of them is late, on any other a violation. */
export class ReleasedChannels {
  readonly #channels = new Set<number>();

  has(channel: number): boolean {
    return this.#channels.has(channel);
  }

  add(channel: number): void {
    this.#channels.add(channel);
    if (this.#channels.size <= REMEMBERED) return;
    for (const oldest of this.#channels) {
      this.#channels.delete(oldest);
      break;
    }
  }
}
