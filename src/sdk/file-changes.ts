import type { IncomingMessage } from "node:http";
import { SandboxError } from "../contract/errors.ts";
import type { FileChange, WatchFilesRequest } from "../contract/index.ts";
import type { Connection } from "./connection.ts";
import { cancelled } from "./deadline.ts";
import { jsonLines } from "./json-lines.ts";
import { type CallOptions, QUICK_MS } from "./options.ts";

export type WatchFilesOptions = Omit<CallOptions, "connection"> & Omit<WatchFilesRequest, "path">;

type Line = FileChange | { type: "ready" } | { type?: undefined; error: object };

/**
 * Changes of files as they happen, for one reader. It ends when the loop over it is left, when it is closed, and when what is watched is
 * gone. Who reads slowly is not told all: `overflow` says so.
 *
 * @throws SandboxError from the loop: `cancelled` after the signal, `unavailable` when the sandbox stops or the daemon leaves,
 * `resource_exhausted` when there is too much to watch
 */
export class FileChanges implements AsyncIterableIterator<FileChange>, AsyncDisposable {
  readonly #response: IncomingMessage;
  readonly #lines: AsyncGenerator<Line>;
  readonly #purpose: string;
  readonly #signal: AbortSignal | undefined;
  #closed = false;

  private constructor(response: IncomingMessage, purpose: string, signal: AbortSignal | undefined) {
    this.#response = response;
    this.#lines = jsonLines<Line>(response);
    this.#purpose = purpose;
    this.#signal = signal;
    // Whoever reads hears of a failure. One between two reads must not end the program.
    response.on("error", () => {});
  }

  /** @internal @param url of the sandbox's files @param path as the API takes it */
  static async begin(
    connection: Connection,
    url: string,
    path: string,
    { signal, deadlineMs = QUICK_MS, ...query }: WatchFilesOptions,
  ): Promise<FileChanges> {
    const purpose = `watch ${path}`;
    const request = { method: "GET" as const, path: `${url}/watch`, query: { path, ...query } };
    // The answer begins when the watch is in place, so the deadline covers that.
    const response = await connection.stream({ ...request, signal, deadlineMs, purpose });
    const changes = new FileChanges(response, purpose, signal);
    const first = await changes.#line();
    if (first?.type === "ready") return changes;
    throw changes.#over(
      new SandboxError("internal", `could not ${purpose}: the daemon did not say that it does`),
    );
  }

  async next(): Promise<IteratorResult<FileChange, undefined>> {
    const line = await this.#line();
    if (line === undefined) return { done: true, value: undefined };
    return { done: false, value: line as FileChange };
  }

  /** Ends the watch, as leaving the loop does. */
  async return(): Promise<IteratorResult<FileChange, undefined>> {
    this.#close();
    return { done: true, value: undefined };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #close(): void {
    this.#closed = true;
    this.#response.destroy();
  }

  async #line(): Promise<Line | undefined> {
    try {
      const { done, value } = await this.#lines.next();
      if (done === true) return undefined;
      if (value.type === undefined) throw SandboxError.fromBody(value.error as never);
      return value;
    } catch (error) {
      if (this.#closed) return undefined;
      throw this.#over(error);
    }
  }

  #over(error: unknown): unknown {
    this.#response.destroy();
    if (this.#signal?.aborted) return cancelled(this.#signal, error);
    if (error instanceof SandboxError) return error;
    return new SandboxError("unavailable", `cannot ${this.#purpose} any more: the daemon broke off`, {
      hint: "Watch again, and look at what may have changed meanwhile.",
      cause: error,
    });
  }
}
