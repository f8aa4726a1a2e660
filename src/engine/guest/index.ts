/**
 * The host's end of the agent protocol (spec/agent-protocol.md): synchronizing, frames, requests, and one channel
 * per process with back-pressure both ways. It owns the stream to one guest and nothing beyond it; the guest is
 * hostile, so every length is bounded and every field checked here. It never decides what runs, keeps no log and
 * knows neither machines nor images.
 */

export { encodeCbor } from "./cbor.ts";
export {
  type GuestMount,
  type GuestNetwork,
  type ProcessSpec,
  RLIMIT_INFINITY,
  type Rlimit,
  type Setup,
  type SignalScope,
} from "./commands.ts";
export { Complaint } from "./complaint.ts";
export { connectAgent } from "./connect.ts";
export { AgentConnection } from "./connection.ts";
export type {
  AgentInfo,
  HeldOutput,
  ListedProcess,
  LogLevel,
  PingResult,
  ProcessExit,
  SetupResult,
  ShutdownResult,
} from "./control.ts";
export { PROTOCOL_VERSION, readError } from "./control.ts";
export type { Wait } from "./deadline.ts";
export { Fields, intOf, uintOf } from "./fields.ts";
export type { AgentLog } from "./guest-log.ts";
export type { AdoptOptions, CloseReason, OpenOptions, StartOptions } from "./options.ts";
export { DEFAULT_WINDOW_BYTES } from "./output.ts";
export { askOwners, type FlowOwner, type GuestFlow } from "./owners.ts";
export type { OutputName } from "./pending-output.ts";
export type { GuestProcess, LostOutput, OutputHandler } from "./process.ts";
export {
  freezeGuest,
  type GuestRestore,
  type HookResult,
  type RestoredNetwork,
  restoreGuest,
  thawGuest,
} from "./states.ts";
export type { GuestDisk, GuestPressure, GuestStats } from "./stats.ts";
export { STDIN_QUEUE_BYTES } from "./stdin.ts";
export { violation } from "./violation.ts";
