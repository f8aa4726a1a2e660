import { SandboxError } from "../../../contract/index.ts";
import { Complaint, Fields, type GuestProcess, readError, violation } from "../../guest/index.ts";
import { encodeMessage, MessageReader } from "./messages.ts";

/** Requests that wait for their reply; more are refused. */
const MAX_PENDING = 1024;

interface Pending {
  resolve(reply: Fields): void;
  reject(error: unknown): void;
}

/**
 * The host's end of one files process: requests go out in order, replies come as they are ready. What the guest sends is bounded by
 * what was asked: a reply to no request ends the process.
 */
export class FilesProcess {
  readonly #guest: GuestProcess;
  readonly #pending = new Map<number, Pending>();
  readonly #reader = new MessageReader();
  #lastId = 0;
  readonly #complaint = new Complaint();
  #ended: SandboxError | undefined;

  /** @param name of the sandbox, for errors */
  constructor(guest: GuestProcess, name: string) {
    this.#guest = guest;
    guest.onOutput((stream, offset, chunk) => {
      if (stream === "stderr") this.#complaint.add(chunk);
      else this.#take(chunk);
      guest.ack(stream, offset + chunk.length);
    });
    guest.exited.then(
      () => this.#end(lost(name, this.#complaint.toString())),
      (error) => this.#end(SandboxError.from(error)),
    );
  }

  /** Why it takes no more; undefined while it does. */
  get ended(): SandboxError | undefined {
    return this.#ended;
  }

  get pid(): number {
    return this.#guest.pid;
  }

  /**
   * Asks for something.
   * @throws what the guest could not do; `unavailable` if the process ends first, since whether it was done is unknown then
   */
  async request(message: { op: string } & Record<string, unknown>): Promise<Fields> {
    if (this.#ended !== undefined) throw this.#ended;
    if (this.#pending.size >= MAX_PENDING) {
      throw new SandboxError(
        "resource_exhausted",
        `${MAX_PENDING} requests for the sandbox's files wait already`,
      );
    }
    const id = ++this.#lastId;
    const { promise, resolve, reject } = Promise.withResolvers<Fields>();
    this.#pending.set(id, { resolve, reject });
    promise.catch(() => {});
    try {
      await this.#guest.write(encodeMessage({ ...message, id }));
    } catch (error) {
      // Its end says more than that it takes nothing.
      if (!(error instanceof SandboxError) || error.code !== "invalid_state") {
        this.#pending.delete(id);
        throw error;
      }
    }
    return promise;
  }

  /** Ends it, and everything that waits. */
  release(): void {
    this.#guest.release();
  }

  #take(chunk: Buffer): void {
    try {
      for (const message of this.#reader.push(chunk))
        this.#settle(Fields.ofMessage(message, "a files reply"));
    } catch (error) {
      this.#end(SandboxError.from(error));
      this.#guest.release();
    }
  }

  #settle(reply: Fields): void {
    const id = reply.uint("id");
    const pending = this.#pending.get(id);
    if (pending === undefined) throw violation("a files reply to a request that was not made");
    const error = reply.has("error") ? readError(reply.fields("error")) : undefined;
    this.#pending.delete(id);
    if (error === undefined) pending.resolve(reply);
    else pending.reject(error);
  }

  #end(error: SandboxError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
    this.#guest.release();
  }
}

function lost(name: string, complaint: string): SandboxError {
  return new SandboxError(
    "unavailable",
    `what serves the files of sandbox '${name}' has ended${complaint === "" ? "" : `: ${complaint}`}`,
    { hint: "Try again: it is started anew. What was under way may be done or not." },
  );
}
