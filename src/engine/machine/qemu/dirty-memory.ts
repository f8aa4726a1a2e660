import { freemem } from "node:os";
import { Worker } from "node:worker_threads";
import { SandboxError } from "../../../contract/index.ts";
import { threadProgram } from "../../thread-program.ts";
import type { DirtyMemory } from "../machine.ts";
import type { Answer, Order } from "./memory-program.ts";

/** The memory that VMs have changed, read by one thread for all of them. It starts with the first capture, and stays. */

/** What is held of a VM's memory so that it may go on: part of what the host has free, within these bounds. */
const [LEAST_HELD_BYTES, MOST_HELD_BYTES] = [64 * 1024 ** 2, 2 * 1024 ** 3];
const HELD_SHARE = 1 / 8;
/** What is written at once, while VMs that stand still wait for the thread. */
const NEXT_BYTES = 1024 * 1024;

/** Without an answer to anybody. */
const STUCK_AFTER_MS = 60_000;

let thread: Promise<MemoryThread> | undefined;

/** Resolves when it is there: it takes some 60 ms, which no VM should stand still for. */
export async function startMemoryThread(): Promise<void> {
  await theThread();
}

/**
 * Of a VM that stands still.
 * @throws `unsupported` where the kernel does not show it, `unavailable` if the process is gone
 */
export async function readDirtyMemory(pid: number, memoryFile: string): Promise<DirtyMemory> {
  const reader = await theThread();
  const id = reader.newId();
  const { runs = [], over } = await reader.ask({ id, does: "read", pid, memoryFile, hold: heldBytes() });
  let done = false;
  return {
    runs,
    held: over,
    async writeTo(file) {
      while (!done) done = (await reader.ask({ id, does: "write", file, bytes: NEXT_BYTES })).over;
    },
    async release() {
      if (done) return;
      done = true;
      await reader.ask({ id, does: "release" });
    },
  };
}

function heldBytes(): number {
  return Math.min(MOST_HELD_BYTES, Math.max(LEAST_HELD_BYTES, Math.floor(freemem() * HELD_SHARE)));
}

function theThread(): Promise<MemoryThread> {
  thread ??= MemoryThread.start().catch((error) => {
    thread = undefined;
    throw error;
  });
  return thread;
}

class MemoryThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, PromiseWithResolvers<Answer>>();
  #lastId = 0;
  #stuck: NodeJS.Timeout | undefined;
  #over: SandboxError | undefined;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.on("message", (answer: Answer) => {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      this.#watch();
      if (answer.error === undefined) waiting?.resolve(answer);
      else waiting?.reject(refusal(answer.error));
    });
    const ended = (cause: unknown) =>
      this.#end(new SandboxError("internal", "the thread that reads the memory of VMs has ended", { cause }));
    worker.on("error", ended);
    worker.on("exit", ended);
  }

  static async start(): Promise<MemoryThread> {
    const program = threadProgram(import.meta.url, "./memory-program.ts", "memory");
    const worker = new Worker(program, { name: "memory" });
    // It serves what is there, and keeps no program from leaving.
    worker.unref();
    const started = new MemoryThread(worker);
    const ready = Promise.withResolvers<Answer>();
    started.#waiting.set(0, ready);
    await ready.promise;
    return started;
  }

  newId(): number {
    return ++this.#lastId;
  }

  async ask(order: Order): Promise<Answer> {
    if (this.#over !== undefined) throw this.#over;
    const answer = Promise.withResolvers<Answer>();
    this.#waiting.set(order.id, answer);
    this.#worker.postMessage(order);
    if (this.#stuck === undefined) this.#watch();
    return answer.promise;
  }

  /** A thread that is stuck, in the memory of a VM that is up to something or in a disk that does not answer, is given up. */
  #watch(): void {
    clearTimeout(this.#stuck);
    this.#stuck = undefined;
    if (this.#waiting.size === 0 || this.#over !== undefined) return;
    this.#stuck = setTimeout(() => {
      this.#end(
        new SandboxError(
          "timeout",
          `the memory of a VM was not read or written within ${STUCK_AFTER_MS / 1000} s`,
        ),
      );
      void this.#worker.terminate();
    }, STUCK_AFTER_MS);
  }

  /** Nobody gets this one any more, also while it does not end. */
  #end(error: SandboxError): void {
    if (this.#over !== undefined) return;
    this.#over = error;
    thread = undefined;
    clearTimeout(this.#stuck);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

function refusal({ message, code, writing }: NonNullable<Answer["error"]>): Error {
  if (writing) return Object.assign(new Error(message), { code });
  if (code === "ESRCH" || (code === "ENOENT" && process.platform === "linux"))
    return new SandboxError("unavailable", `the VM's process ended while its memory was read: ${message}`);
  if (code === undefined) return new SandboxError("internal", `the VM's memory cannot be read: ${message}`);
  return new SandboxError("unsupported", `this host does not show the memory of a VM: ${message}`, {
    hint: "It takes Linux, and the right to read the memory of processes that the daemon has started.",
  });
}
