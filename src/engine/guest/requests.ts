import type { SandboxError } from "../../contract/errors.ts";
import type { ConnectionMessage } from "./control.ts";
import type { Fields } from "./fields.ts";
import { violation } from "./violation.ts";

type Reply = Extract<ConnectionMessage, { op: "reply" }>;

interface Pending {
  settle(reply: Reply): void;
  reject(reason: SandboxError): void;
}

/** The requests of one connection that wait for their reply. Ids count up from 1 and are not used again. */
export class Requests {
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;

  /**
   * Opens a request.
   *
   * @param read makes the result of a reply without error; what it throws ends the connection
   */
  open<T>(read: (result: Fields) => T): { id: number; reply: Promise<T> } {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const id = ++this.#lastId;
    this.#pending.set(id, {
      settle: (reply) => ("error" in reply ? reject(reply.error) : resolve(read(reply.result))),
      reject,
    });
    return { id, reply: promise };
  }

  /** Waits no longer for a reply; one that comes later is dropped. */
  forget(id: number): void {
    this.#pending.delete(id);
  }

  receive(reply: Reply): void {
    if (reply.id === 0 || reply.id > this.#lastId) throw violation("a reply to a request that was not made");
    const pending = this.#pending.get(reply.id);
    pending?.settle(reply);
    this.#pending.delete(reply.id);
  }

  rejectAll(reason: SandboxError): void {
    for (const pending of this.#pending.values()) pending.reject(reason);
    this.#pending.clear();
  }
}
