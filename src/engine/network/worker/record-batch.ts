import type { FlowRecord } from "./messages.ts";

/** Records of one sandbox on their way to the main thread: together, since a guest makes as many as it likes. */

const WAIT_MS = 20;
const FULL = 500;

export class RecordBatch implements Disposable {
  readonly #give: (records: FlowRecord[]) => void;
  #records: FlowRecord[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(give: (records: FlowRecord[]) => void) {
    this.#give = give;
  }

  add(record: FlowRecord): void {
    this.#records.push(record);
    if (this.#records.length >= FULL) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), WAIT_MS);
  }

  /** What waits is given first. */
  [Symbol.dispose](): void {
    this.#flush();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const records = this.#records;
    this.#records = [];
    if (records.length > 0) this.#give(records);
  }
}
