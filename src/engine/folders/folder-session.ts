import { randomBytes } from "node:crypto";
import { SandboxError } from "../../contract/errors.ts";
import type { Complaint, GuestProcess } from "../guest/index.ts";
import { answer } from "./answers.ts";
import type { Folder, FolderResult } from "./folder.ts";
import { errnoOf, type FuseRequest, Opcode } from "./fuse-protocol.ts";
import { NONCE_BYTES, RequestStream, syncMessage } from "./request-stream.ts";

/** Requests of one folder that are worked on at a time: what their answers take is the memory that a guest can claim. */
const MAX_UNDER_WAY = 32;
/** Then others get their turn: a guest that floods us must not keep the daemon from its work. */
const TURN_MS = 4;

/**
 * Serves a folder over the process of the agent that relays for the guest's kernel, from one daemon's or connection's
 * beginning to its end. The relay keeps what was not answered: who comes after gets it again, and nothing is lost or
 * done twice. What is read here is acknowledged at once for that reason.
 */
export class FolderSession {
  /** The guest's kernel has been answered, so the mount is in place; or the reason why it never was. */
  readonly mounted: Promise<void>;
  readonly #process: GuestProcess;
  readonly #folder: Folder;
  readonly #stream: RequestStream;
  readonly #mounted = Promise.withResolvers<void>();
  #underWay = 0;
  #queued = 0;
  #wake = () => {};
  readonly #complaint: Complaint;
  #over = false;

  /**
   * @param taken whether an earlier host may have been cut off in the middle of an answer
   * @param complaint gathers what the relay says of its failure
   */
  constructor(process: GuestProcess, folder: Folder, complaint: Complaint, taken: boolean) {
    this.#process = process;
    this.#complaint = complaint;
    this.#folder = folder;
    const nonce = randomBytes(NONCE_BYTES);
    this.#stream = new RequestStream(nonce);
    this.mounted = this.#mounted.promise;
    this.mounted.catch(() => {});
    this.#send(syncMessage(nonce, taken));
    process.onOutput(async (stream, offset, chunk) => {
      if (stream === "stderr") {
        this.#complaint.add(chunk);
      } else {
        await this.#take(chunk);
        if (taken && this.#stream.synchronized) this.#mounted.resolve();
      }
      process.ack(stream, offset + chunk.length);
    });
    const end = (error: unknown) => {
      this.#over = true;
      this.#wake();
      this.#mounted.reject(error);
      // After a violation the relay is ended too: what uses the mount gets errors instead of waiting for ever.
      process.release();
    };
    process.exited.then(() => end(this.#failure()), end);
  }

  #failure(): SandboxError {
    return new SandboxError(
      "internal",
      `the guest could not mount a folder of the host: ${this.#complaint.toString() || "its relay has ended"}`,
    );
  }

  async #take(chunk: Buffer): Promise<void> {
    let turn = performance.now();
    for (const request of this.#stream.push(chunk)) {
      while ((this.#underWay >= MAX_UNDER_WAY || this.#queued > 0) && !this.#over) await this.#change();
      if (this.#over) return;
      this.#serve(request);
      if (performance.now() - turn > TURN_MS) {
        await new Promise((resolve) => setImmediate(resolve));
        turn = performance.now();
      }
    }
  }

  /** Every request is answered, also those that the kernel wants no answer to: the relay then forgets them. */
  #serve(request: FuseRequest): void {
    let result: FolderResult;
    try {
      result = this.#folder.do(request);
    } catch (error) {
      this.#send(answer(request.unique, errnoOf(error)));
      return;
    }
    if (!(result instanceof Promise)) {
      this.#send(answer(request.unique, 0, result));
      if (request.opcode === Opcode.init) this.#mounted.resolve();
      return;
    }
    this.#underWay += 1;
    result
      .then(
        (body) => answer(request.unique, 0, body),
        (error: unknown) => answer(request.unique, errnoOf(error)),
      )
      .then((bytes) => {
        this.#underWay -= 1;
        this.#send(bytes);
        this.#wake();
      });
  }

  /** What the guest does not take is waited for before more is done for it. */
  #send(bytes: Buffer): void {
    if (this.#over) return;
    this.#queued += 1;
    const sent = () => {
      this.#queued -= 1;
      this.#wake();
    };
    this.#process.write(bytes).then(sent, sent);
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
