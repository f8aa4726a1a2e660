/**
 * From a spec to a running sandbox: life cycle, supervision, processes, logs and the taking over of what an earlier daemon
 * left. It is the only room that composes the others. It owns `sandboxes/` and each sandbox's record and state.
 */
export type { Machines, SandboxContext } from "./context.ts";
export type { WarmRequest, WarmVms } from "./create.ts";
export { OPERATION_STEPS, type Reached } from "./faults.ts";
export { FolderPolicy } from "./folder-policy.ts";
export { SandboxManager } from "./manager.ts";
export { STORED_INTERFACE } from "./network.ts";
export { NetworkSettingsFile } from "./network-settings.ts";
export { signalNumber } from "./signals.ts";
export { SnapshotService } from "./snapshots.ts";
export { takeTemplateOf } from "./start.ts";
export { templateBuilder } from "./template-builder.ts";
export { UidPool } from "./uid-pool.ts";
export type { WarmShape, WarmVm } from "./warm-vm.ts";
