import { Worker } from "node:worker_threads";
import { SandboxError } from "../../../contract/errors.ts";
import { threadProgram } from "../../thread-program.ts";
import type { CallName, Calls, FromStack, FromThread, ToThread } from "./messages.ts";

/** One of the network's threads, as the main thread sees it. */

export interface ThreadHears {
  onSaid(message: FromStack): void;
  /** It has ended without having been asked to; what it was asked is rejected. */
  onDeath(reason: string): void;
}

interface Waiting {
  resolve(answer: unknown): void;
  reject(error: Error): void;
  timer: NodeJS.Timeout;
}

/** Longer than any answer takes: names are given up after 4.5 s, and links that do not come after 10. */
const ANSWER_TIMEOUT_MS = 20_000;

export class NetworkThread {
  /** Sandboxes whose stacks are here, and their groups. */
  readonly sandboxes = new Map<string, string | undefined>();
  readonly #worker: Worker;
  readonly #hears: ThreadHears;
  readonly #waiting = new Map<number, Waiting>();
  #number = 0;
  #over = false;
  #failure: Error | undefined;

  constructor(hears: ThreadHears) {
    this.#hears = hears;
    this.#worker = new Worker(threadProgram(import.meta.url, "./thread.ts", "network"), { name: "network" });
    // It serves what is there, and keeps no program from leaving.
    this.#worker.unref();
    this.#worker.on("message", (message: FromThread) => this.#receive(message));
    this.#worker.on("error", (error) => {
      this.#failure = error;
    });
    this.#worker.on("exit", (code) => this.#ended(this.#failure?.message ?? `it exited with ${code}`));
  }

  /** @throws what the thread answers; `unavailable` if it dies, or is stuck and therefore ended */
  ask<Name extends CallName>(call: Name, ask: Calls[Name]["ask"]): Promise<Calls[Name]["answer"]> {
    if (this.#over) return Promise.reject(gone("it has ended"));
    const number = this.#number++;
    const { promise, resolve, reject } = Promise.withResolvers<Calls[Name]["answer"]>();
    const late = `it did not answer '${call}' within ${ANSWER_TIMEOUT_MS} ms`;
    const timer = setTimeout(() => this.fail(late), ANSWER_TIMEOUT_MS);
    this.#waiting.set(number, { resolve: (answer) => resolve(answer as never), reject, timer });
    this.#worker.postMessage({ call, number, ask } as ToThread);
    return promise;
  }

  /** Ends it, with all that is in it. */
  async close(): Promise<void> {
    this.#over = true;
    await this.#worker.terminate();
  }

  /** Ends one that serves nobody, as if it had died. */
  fail(reason: string): void {
    this.#failure = new Error(reason);
    void this.#worker.terminate();
  }

  #receive(message: FromThread): void {
    if (message.say !== "answer" && message.say !== "error") {
      this.#hears.onSaid(message);
      return;
    }
    const waiting = this.#waiting.get(message.number);
    if (waiting === undefined) return;
    this.#waiting.delete(message.number);
    clearTimeout(waiting.timer);
    if (message.say === "answer") waiting.resolve(message.answer);
    else waiting.reject(SandboxError.fromBody(message.error));
  }

  #ended(reason: string): void {
    const asked = !this.#over;
    this.#over = true;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(gone(reason));
    }
    this.#waiting.clear();
    if (asked) this.#hears.onDeath(reason);
  }
}

const gone = (reason: string): SandboxError =>
  new SandboxError("unavailable", `a thread of the network has ended: ${reason}`);
