import type { SandboxState } from "../../contract/index.ts";
import type { SandboxContext } from "./context.ts";
import { assertTransition } from "./lifecycle.ts";
import type { SandboxRecord } from "./record.ts";

/** A sandbox's record as it stands in the store, and the events that tell of its changes. */
export class KeptRecord {
  /** Replaced as a whole by `save`. What a sandbox has no more when it is let go of is written with the next change. */
  now: SandboxRecord;
  readonly #context: Pick<SandboxContext, "table" | "events" | "holds">;

  constructor(context: Pick<SandboxContext, "table" | "events" | "holds">, record: SandboxRecord) {
    this.#context = context;
    this.now = record;
  }

  /** Written before it is acted on. */
  transition(state: SandboxState, changes: Partial<SandboxRecord> = {}): void {
    assertTransition(this.now.name, this.now.state, state);
    this.save({ ...changes, state });
    if (state === "stopping") this.#context.holds.ending(this.now.id);
    this.tell(`sandbox.${state}`, this.now.reason);
  }

  save(changes: Partial<SandboxRecord>): void {
    this.now = { ...this.now, ...changes };
    const { id, name, state, createdAt } = this.now;
    this.#context.table.put({ id, name, state, createdAt, record: this.now });
  }

  tell(type: string, message: string | undefined): void {
    const { id, name } = this.now;
    this.#context.events.add({ type, sandbox: id, message, data: { name } });
  }
}
