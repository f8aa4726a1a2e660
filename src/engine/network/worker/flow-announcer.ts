import { randomInt } from "node:crypto";
import type { FlowAddress } from "../flow.ts";
import type { BegunFlow } from "./messages.ts";

/**
 * Tells of flows that begin, so that the guest can be asked whose they are: the first at once, for connections are short, and then
 * at most two groups of 64 a second. A guest that opens more is not asked about the rest.
 */

const MAX_GROUP = 64;
const BETWEEN_MS = 500;

export class FlowAnnouncer implements Disposable {
  readonly #tell: (flows: BegunFlow[]) => void;
  /** Not from 1: a sandbox may have another stack after this one, and numbers of both on their way. */
  #number = randomInt(2 ** 47);
  #group: BegunFlow[] = [];
  #soon: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(tell: (flows: BegunFlow[]) => void) {
    this.#tell = tell;
  }

  /** The number by which the flow's record names it; undefined where nobody is asked. */
  begun(
    { sourcePort, destination, destinationPort }: FlowAddress,
    protocol: "tcp" | "udp",
  ): number | undefined {
    if (this.#group.length >= MAX_GROUP) return undefined;
    this.#number += 1;
    this.#group.push({
      number: this.#number,
      protocol,
      localPort: sourcePort,
      address: destination.text,
      port: destinationPort,
    });
    if (this.#timer === undefined) this.#soon ??= setImmediate(() => this.#flush());
    return this.#number;
  }

  [Symbol.dispose](): void {
    clearImmediate(this.#soon);
    clearTimeout(this.#timer);
    this.#group = [];
  }

  #flush(): void {
    this.#soon = this.#timer = undefined;
    const group = this.#group;
    if (group.length === 0) return;
    this.#group = [];
    this.#tell(group);
    this.#timer = setTimeout(() => this.#flush(), BETWEEN_MS);
  }
}
