import { EventEmitter, once } from "node:events";
import { type Duplex, duplexPair } from "node:stream";
import { NameTable } from "../dns/name-table.ts";
import type { GuestDatagrams, GuestRequest, GuestStream, Unreachable } from "../outward/guest-side.ts";
import { ip } from "./policy-of.ts";

/** The guest's side of a connection, without a guest: what it was told, and its end of the stream. */
export class FakeRequest implements GuestRequest {
  readonly source = ip("10.209.0.2");
  readonly sourcePort = 40_000;
  readonly destination;
  readonly destinationPort: number;
  readonly #gone = new AbortController();
  readonly signal = this.#gone.signal;
  readonly #told = Promise.withResolvers<string>();
  /** `accepted`, `reset`, `dropped`, or the code of an ICMP error. */
  readonly told = this.#told.promise;
  guest: Duplex | undefined;
  /** The established connection was reset. */
  wasReset = false;

  constructor(address: string, port: number) {
    this.destination = ip(address);
    this.destinationPort = port;
  }

  accept(): GuestStream {
    const [guest, ours] = duplexPair();
    guest.on("error", () => {});
    this.guest = guest;
    this.#told.resolve("accepted");
    const reset = () => {
      this.wasReset = true;
      ours.destroy();
      guest.destroy();
    };
    return Object.assign(ours, { reset }) as GuestStream;
  }

  reset(): void {
    this.#told.resolve("reset");
  }

  drop(): void {
    this.#told.resolve("dropped");
  }

  unreachable(code: Unreachable): void {
    this.#told.resolve(code);
  }

  giveUp(): void {
    this.#gone.abort();
  }

  /** What the guest reads until it reads no more. */
  async read(): Promise<string> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of this.guest!) chunks.push(chunk);
    } catch {
      // Reset: what came before counts.
    }
    return Buffer.concat(chunks).toString("latin1");
  }
}

export class FakeDatagrams
  extends EventEmitter<{ told: [string]; reply: [Uint8Array] }>
  implements GuestDatagrams
{
  readonly source = ip("10.209.0.2");
  readonly sourcePort = 40_000;
  readonly destination;
  readonly destinationPort: number;
  readonly #queue: Uint8Array[] = [];
  #wake = Promise.withResolvers<void>();
  closed = false;
  readonly codes: string[] = [];

  constructor(address: string, port: number, ...datagrams: (string | Uint8Array)[]) {
    super();
    this.destination = ip(address);
    this.destinationPort = port;
    for (const each of datagrams) this.send(each);
  }

  send(payload: string | Uint8Array): void {
    this.#queue.push(Buffer.from(payload as string));
    this.#wake.resolve();
  }

  reply(payload: Uint8Array): void {
    this.emit("reply", payload);
  }

  unreachable(code: Unreachable): void {
    this.codes.push(code);
    this.emit("told", code);
  }

  close(): void {
    this.closed = true;
    this.#wake.resolve();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    while (!this.closed) {
      while (this.#queue.length > 0) yield this.#queue.shift()!;
      await this.#wake.promise;
      this.#wake = Promise.withResolvers();
    }
  }

  async nextReply(): Promise<string> {
    const [payload] = await once(this, "reply");
    return Buffer.from(payload).toString();
  }
}

/** A table in which these names were given these addresses a moment ago. */
export function tableOf(names: Record<string, string[]>, now: () => number = () => 0): NameTable {
  const table = new NameTable(now);
  for (const [name, addresses] of Object.entries(names))
    for (const address of addresses) table.give(name, ip(address), 60);
  return table;
}
