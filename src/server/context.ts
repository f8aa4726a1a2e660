import type { Engine } from "../engine/index.ts";

/** What the routes need of the daemon around them. */
export interface ApiContext {
  engine: Engine;
  /** Build of this daemon, see `contract/build.ts`. */
  build: string;
  startedAt: Date;
  /** Aborted when the daemon begins to leave: whatever follows something without end stops then. */
  leaving: AbortSignal;
  /** Writes to the daemon's log. */
  log(message: string): void;
  /** Begins an orderly exit and returns at once. */
  leave(reason: string): void;
}
