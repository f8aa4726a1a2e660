/** Hands pieces from a writer to a reader, one at a time. */
export class Pipe implements AsyncIterable<Uint8Array> {
  #offered = Promise.withResolvers<Uint8Array | undefined>();
  #taken = Promise.withResolvers<void>();
  #failure: { error: unknown } | undefined;

  constructor() {
    this.#offered.promise.catch(() => {});
    this.#taken.promise.catch(() => {});
  }

  /** Waits until the reader has taken the piece. Rejects when either end has failed. */
  async write(piece: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (piece.length === 0) return;
    const { promise } = this.#taken;
    this.#offered.resolve(piece);
    await promise;
  }

  end(): void {
    this.#offered.resolve(undefined);
  }

  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#offered.reject(error);
    this.#taken.reject(error);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error;
      const piece = await this.#offered.promise;
      if (piece === undefined) return;
      const { resolve } = this.#taken;
      this.#offered = Promise.withResolvers();
      this.#taken = Promise.withResolvers();
      this.#offered.promise.catch(() => {});
      this.#taken.promise.catch(() => {});
      yield piece;
      resolve();
    }
  }
}
