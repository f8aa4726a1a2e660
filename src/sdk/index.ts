/**
 * The TypeScript SDK: sandboxes for programs. It is a client of the daemon's API and starts the daemon when none runs; it owns
 * connections and nothing else. It never imports the engine: what it can do, an SDK in any language can do.
 */
export { type ErrorCode, type ErrorOptions, SandboxError } from "../contract/errors.ts";
export type {
  ArchiveFormat,
  Check,
  DiskUsage,
  Event,
  ExitStatus,
  FileChange,
  FileEntry,
  FileStat,
  FileType,
  HealthInfo,
  ImageConfigInfo,
  ImageDetail,
  ImageHistoryEntry,
  ImageInfo,
  ImageUsage,
  InlineFileInput,
  LayerProgress,
  LogRecord,
  Mount,
  MountInput,
  NetworkChanges,
  NetworkExplanation,
  NetworkQuestionInput,
  NetworkRecord,
  NetworkSpecInput,
  NetworkStatistics,
  OutputFrom,
  Platform,
  PoolInfo,
  PoolRequestInput,
  ProcessInfo,
  Progress,
  PruneReport,
  PullPolicy,
  PushResult,
  SandboxHealth,
  SandboxInfo,
  SandboxMetrics,
  SandboxSpecInput,
  SandboxState,
  SnapshotInfo,
  Span,
  TemplateInfo,
  TemplateShape,
  TemplateShapeInput,
  TerminalInput,
  VersionInfo,
  VolumeInfo,
  VolumePruneReport,
  VolumeUser,
} from "../contract/index.ts";
export { AttachedProcess } from "./attached-process.ts";
export { type Connection, type ConnectOptions, connect } from "./connection.ts";
export type { Copy } from "./copies.ts";
export type { CopyOptions } from "./copy/copy.ts";
export type { CopyProgress, Unpacked } from "./copy/unpack.ts";
export { Daemon, type StartedDaemon } from "./daemon.ts";
export { type EventOptions, events } from "./events.ts";
export { type ExecEvent, ExecProcess, type ExecStdin } from "./exec-process.ts";
export { ExecResult } from "./exec-result.ts";
export { FileChanges, type WatchFilesOptions } from "./file-changes.ts";
export { pathBytes } from "./file-path.ts";
export type {
  ArchiveOptions,
  ExtractOptions,
  FileCallOptions,
  FilePath,
  Files,
  ListFilesOptions,
  ReadFileOptions,
  WriteFileOptions,
} from "./files.ts";
export { Image } from "./image.ts";
export type { ImageBuildOptions } from "./image-build.ts";
export type {
  ImageImportOptions,
  ImagePullOptions,
  ImagePushOptions,
  ImageSaveOptions,
  TarOptions,
} from "./image-transfer.ts";
export { allMetrics, type WatchMetricsOptions } from "./metrics.ts";
export { Network, type NetworkLogOptions } from "./network.ts";
export type { CallOptions, SlowCallOptions } from "./options.ts";
export { Pool } from "./pool.ts";
export type { PrepareOptions } from "./prepare.ts";
export { type AttachOptions, Processes, type ProcessStartOptions, SandboxProcess } from "./processes.ts";
export { type LoginOptions, Registry } from "./registry.ts";
export { RunProcess } from "./run-process.ts";
export { Sandbox } from "./sandbox.ts";
export type {
  CreateOptions,
  ExecOptions,
  ExecStreamOptions,
  ListOptions,
  LogsOptions,
  RunOptions,
} from "./sandbox-options.ts";
export {
  type ForkOptions,
  type RestoreOptions,
  Snapshot,
  type SnapshotCreateOptions,
  type SnapshotExportOptions,
  type SnapshotImportOptions,
  type StoredVolumes,
} from "./snapshot.ts";
export { Template } from "./template.ts";
export { Volume, type VolumeCreateOptions } from "./volume.ts";
