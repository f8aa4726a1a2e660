import type { NetworkRecord } from "../../contract/index.ts";
import type { FlowOwner } from "../guest/index.ts";
import type { BegunFlow, FlowRecord } from "../network/index.ts";
import { within } from "./within.ts";

/**
 * Puts into records which process opened the connection, where the guest has said so by then. Nothing waits for it but the record, and
 * that not for long: a connection that ends at once may be of nobody who is known. What the guest says is its word. Bounds: `MAX_KNOWN` answers are
 * kept for connections that are still open.
 */

const MAX_KNOWN = 4096;
const WAIT_MS = 500;

/** Asks the guest; one answer for each flow. */
export type AskOwners = (flows: readonly BegunFlow[]) => Promise<readonly (FlowOwner | undefined)[]>;

export class FlowOwners {
  readonly #ask: AskOwners;
  /** By the number of the flow, in the order of their beginning. */
  readonly #answers = new Map<number, Promise<FlowOwner | undefined>>();

  constructor(ask: AskOwners) {
    this.#ask = ask;
  }

  /** These begin now. */
  begun(flows: readonly BegunFlow[]): void {
    const asked = this.#ask(flows).catch(() => []);
    for (const [i, { number }] of flows.entries())
      this.#answers.set(
        number,
        asked.then((owners) => owners[i]),
      );
    for (const number of this.#answers.keys()) {
      if (this.#answers.size <= MAX_KNOWN) break;
      this.#answers.delete(number);
    }
  }

  /** The records, with processes. Never rejects. */
  async name(records: readonly FlowRecord[]): Promise<NetworkRecord[]> {
    return await Promise.all(records.map((record) => this.#named(record)));
  }

  async #named({ flow, ...record }: FlowRecord): Promise<NetworkRecord> {
    const answer = flow === undefined ? undefined : this.#answers.get(flow);
    if (flow === undefined || answer === undefined) return record as NetworkRecord;
    this.#answers.delete(flow);
    const process = await within(WAIT_MS, answer);
    return process === undefined ? (record as NetworkRecord) : ({ ...record, process } as NetworkRecord);
  }
}
