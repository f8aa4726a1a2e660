/**
 * Stored states of sandboxes on disk: their folders, sums, chains of memory, export and import. It owns `states/`. It knows no machines and
 * no sandboxes: what was stored comes in as files and as a record that is whoever's business, and goes out the same way.
 */
export { chainOf, linkChain, type MemoryChain } from "./chain.ts";
export { writeDelta } from "./delta.ts";
export { type FinishOptions, STEPS, type StateDraft } from "./draft.ts";
export { type MachineIdentity, mismatch } from "./machine-identity.ts";
export { diskLevels, type StateManifest } from "./manifest.ts";
export { StateStore } from "./store.ts";
export type { StoredState } from "./verify.ts";
