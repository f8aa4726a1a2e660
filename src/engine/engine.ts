import type { Readable } from "node:stream";
import type {
  ArchiveFormat,
  BuildRequest,
  Check,
  Event,
  ExecSpec,
  ExitStatus,
  ExtractFilesRequest,
  FileChange,
  FileEntry,
  FileOperation,
  FileResult,
  ForkRequest,
  ImageDetail,
  ImageInfo,
  ImageUsage,
  ListFilesRequest,
  LoginRequest,
  LogRecord,
  NetworkChanges,
  NetworkExplanation,
  NetworkQuestion,
  NetworkRecord,
  NetworkSpec,
  NetworkStatistics,
  OutputFrom,
  PackFilesRequest,
  PoolInfo,
  PoolRequest,
  ProcessInfo,
  ProcessStart,
  Progress,
  PruneReport,
  PruneRequest,
  PullRequest,
  PushRequest,
  PushResult,
  ReadFileRequest,
  RestoreRequest,
  SandboxInfo,
  SandboxMetrics,
  SandboxSpec,
  SandboxState,
  SignalScope,
  SnapshotInfo,
  SnapshotRequest,
  TemplateInfo,
  TemplateShape,
  VersionInfo,
  VolumeInfo,
  VolumePruneReport,
  VolumeRequest,
  WatchFilesRequest,
  WriteFileRequest,
} from "../contract/index.ts";

/**
 * The engine as its one user, the server, sees it. It knows no HTTP and no terminal.
 * Every operation throws `SandboxError`; `ref` is a sandbox's name or id.
 */
export interface Engine {
  readonly home: string;
  readonly sandboxes: Sandboxes;
  readonly snapshots: Snapshots;
  readonly images: Images;
  readonly templates: Templates;
  readonly volumes: Volumes;
  readonly pools: Pools;
  readonly events: Events;
  /** What this host can do, what is missing and what mends it. Never throws for a finding. */
  doctor(options?: { signal?: AbortSignal }): Promise<Check[]>;
  version(): Promise<VersionInfo>;
  /** Lets go of everything without stopping a sandbox: a later engine adopts what runs. */
  close(): Promise<void>;
}

/** Carried through an operation: its cancellation, and who wants to hear that it takes long. */
export interface OperationContext {
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
}

export interface Sandboxes {
  /** Creates and starts. On an error nothing is left behind. */
  /** @param options `held`: its command waits for `begin`. Default: false */
  create(spec: SandboxSpec, context?: OperationContext, options?: { held?: boolean }): Promise<SandboxInfo>;
  /** Starts the command of a sandbox that was made held. @throws `invalid_state` if none waits */
  begin(ref: string): Promise<SandboxInfo>;
  get(ref: string): SandboxInfo;
  list(filter?: { states?: SandboxState[]; labels?: Record<string, string> }): SandboxInfo[];
  /** Starts a stopped or failed sandbox with the disk it had. */
  start(ref: string, context?: OperationContext): Promise<SandboxInfo>;
  /** Has its VM stand still, with all that is in its memory. @throws `invalid_state` if it does not run */
  pause(ref: string): Promise<SandboxInfo>;
  /** Stores it on disk and ends its VM. Whoever uses it has it loaded again. @throws `invalid_state` if it does not run */
  suspend(ref: string): Promise<SandboxInfo>;
  /** Has a paused or suspended one go on, with the right time. Whoever uses it has it go on too. @throws `invalid_state` if it runs */
  resume(ref: string): Promise<SandboxInfo>;
  /**
   * Makes sandboxes that go on from where this one is; it goes on too. Its connections and the channels of its processes stay with it.
   * After an error there is none of them.
   * @throws `invalid_state` if it does not run, or may write to named volumes that are not to be copied
   */
  fork(ref: string, request: ForkRequest, context?: OperationContext): Promise<SandboxInfo[]>;
  /** TERM to all, then KILL after `graceMs` (default 5,000), then power off. */
  stop(ref: string, options?: { graceMs?: number }): Promise<SandboxInfo>;
  /** Ends the VM at once. */
  kill(ref: string): Promise<SandboxInfo>;
  /** Removes a stopped or failed sandbox; a running one only with `force`, which kills it. */
  remove(ref: string, options?: { force?: boolean }): Promise<void>;
  /** Starts a process. `details.exitCode` of the error is 127 or 126 if the command cannot be run. */
  exec(ref: string, spec: ExecSpec, context?: ExecContext): Promise<EngineProcess>;
  /** The files of a sandbox; what is asked of them throws `invalid_state` if it does not run. */
  files(ref: string): SandboxFiles;
  /** The image's entrypoint and command with the spec's and `argv` on top, as `docker run` combines them. */
  commandOf(ref: string, argv?: string[]): string[];
  /** The network of a sandbox; `invalid_state` for what needs one that is there. */
  network(ref: string): SandboxNetworkControl;
  /** What a running sandbox uses now. */
  metrics(ref: string): Promise<SandboxMetrics>;
  /** What all running sandboxes use now; one that cannot be measured is left out. */
  allMetrics(): Promise<SandboxMetrics[]>;
  /** Its processes, as things to come back to. */
  processes(ref: string): SandboxProcesses;
  /** What processes wrote, oldest first; with `follow`, until the sandbox is removed or the signal comes. */
  logs(ref: string, options?: LogOptions): AsyncIterable<LogRecord>;
  /** The last `maxBytes` (default 64 KiB) of the VM's console. */
  console(ref: string, maxBytes?: number): Promise<string>;
  /** The file system of a running sandbox as one tar: its image with what it has written on top. */
  export(ref: string, options?: { signal?: AbortSignal }): Promise<ByteStream>;
  /** How many sandboxes have a VM now. */
  runningCount(): number;
}

/** States of sandboxes that users store. `ref` is a snapshot's name or id. */
export interface Snapshots {
  /**
   * Stores a sandbox: one that runs with memory, processes and disks, one that is stopped with its disks. It goes on as it was.
   * @param sandbox its name or id
   * @throws `invalid_state` if it may write to named volumes that are not to be copied, `already_exists`
   */
  create(sandbox: string, request: SnapshotRequest, context?: OperationContext): Promise<SnapshotInfo>;
  /** Oldest first. */
  list(): Promise<SnapshotInfo[]>;
  /** @throws `not_found` */
  get(ref: string): Promise<SnapshotInfo>;
  /** What was made of it, snapshots and sandboxes, stays whole. */
  remove(ref: string): Promise<void>;
  /** Reads all of it and compares. @throws `internal` naming the file that is damaged */
  verify(ref: string, context?: OperationContext): Promise<SnapshotInfo>;
  /**
   * Makes sandboxes that go on from there. After an error there is none of them.
   * @throws `unsupported` naming what differs, if this host cannot load it; `internal` if it is damaged
   */
  restore(ref: string, request: RestoreRequest, context?: OperationContext): Promise<SandboxInfo[]>;
  /** All of it as one file: a tar within zstd and, with a passphrase, age. It holds the sandbox's memory, so its secrets too. */
  export(ref: string, options?: { passphrase?: string; signal?: AbortSignal }): Promise<ByteStream>;
  /**
   * Reads what `export` wrote, maybe elsewhere; the file is not trusted.
   * @param options `name`: default the one that it had. `passphrase`: of one that is encrypted
   * @throws `already_exists`, `invalid_argument` (not such a file, or damaged), `unauthenticated` (the passphrase)
   */
  import(
    file: Readable,
    options?: OperationContext & { name?: string; passphrase?: string },
  ): Promise<SnapshotInfo>;
}

/** Files inside a running sandbox. Every error names the path. */
export interface SandboxFiles {
  /** Bytes as they are taken. What opening it throws comes before the first. */
  read(request: ReadFileRequest, signal?: AbortSignal): Promise<ByteStream>;
  /** @returns the number of bytes written. A body that fails leaves an `atomic` file as it was. */
  write(request: WriteFileRequest, body: AsyncIterable<Uint8Array>): Promise<number>;
  /** In pages, in the order of the folder. */
  list(request: ListFilesRequest): Promise<AsyncIterable<FileEntry[]>>;
  operate(operation: FileOperation): Promise<FileResult>;
  /** A file or a folder as a tar, as it is taken. What comes before the first byte names what cannot be packed. */
  pack(request: PackFilesRequest, signal?: AbortSignal): Promise<ByteStream>;
  /** Puts the entries of a tar below a folder. What was put there before an error stays. */
  extract(request: ExtractFilesRequest, tar: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void>;
  /**
   * Tells of changes once it has resolved, until what is watched is gone. Fails when the sandbox stops. Who reads slowly is told of an
   * `overflow` one day.
   */
  watch(request: WatchFilesRequest, signal?: AbortSignal): Promise<AsyncIterable<FileChange[]>>;
}

/** A sandbox's network: its decisions, and what decides. */
export interface SandboxNetworkControl {
  /** Its decisions that are kept, oldest first; also of one that has stopped. */
  records(options?: NetworkLogOptions): AsyncIterable<NetworkRecord>;
  /** What would become of a connection, and why. Nothing is connected; a name is asked for. */
  test(question: NetworkQuestion): Promise<NetworkExplanation>;
  statistics(): Promise<NetworkStatistics>;
  /** Other rules or another scope, from now on: connections that they do not allow are closed. */
  update(changes: NetworkChanges): Promise<NetworkSpec>;
}

export interface NetworkLogOptions {
  /** Then what comes, until the sandbox is removed or the signal. Default: only what is kept. */
  follow?: boolean | undefined;
  /** Only the last so many of what is kept. */
  tail?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface ExecContext extends OperationContext {
  /** The sandbox ends when this process does, also if the daemon was restarted meanwhile. Default false. */
  main?: boolean | undefined;
}

export interface LogOptions {
  follow?: boolean | undefined;
  /** Only the last `tail` records. */
  tail?: number | undefined;
  /** Only what was written from then, and up to then; ISO 8601. */
  since?: string | undefined;
  until?: string | undefined;
  /** Only of these processes, by their number within the sandbox. */
  processes?: number[] | undefined;
  streams?: LogRecord["stream"][] | undefined;
  /** Only lines that contain this text, each as a record of its own. */
  grep?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** The ways into a process. */
export interface ProcessControls {
  /** Resolves when the bytes are on their way; slow while the process does not read. */
  write(chunk: Buffer): Promise<void>;
  endStdin(): void;
  /** @param signal name, e.g. `SIGINT` or `INT`; unknown: `invalid_argument`. Goes to the process group. */
  signal(signal: string): void;
  /** Gives its terminal another size; without one it does nothing. */
  resize(rows: number, cols: number): void;
}

/** A process that somebody listens to. Its output also goes to the sandbox's log. */
export interface EngineProcess extends ProcessControls {
  /** Number of the process within its sandbox. */
  readonly process: number;
  readonly pid: number;
  /**
   * Takes the output. Called once, right after `exec`. The callback's promise is the back-pressure: the process is held
   * back while about 1 MiB waits.
   */
  onOutput(listener: (stream: "stdout" | "stderr", chunk: Buffer) => void | Promise<void>): void;
  /** Settles after the last output was given to the listener. Rejects with `unavailable` if the VM is lost. */
  readonly exited: Promise<ExitStatus>;
  /** Lets the process run on without a listener. */
  detach(): void;
}

/** The processes of one sandbox: those that run, and the last that have ended. */
export interface SandboxProcesses {
  /** Starts one that nobody listens to; its output goes to the sandbox's log. */
  start(spec: ProcessStart, context?: OperationContext): Promise<ProcessInfo>;
  list(): ProcessInfo[];
  get(process: number): ProcessInfo;
  /** Resolves when it has ended or is lost. */
  wait(process: number, options?: { signal?: AbortSignal | undefined }): Promise<ProcessInfo>;
  /** @throws `invalid_state` if it does not run */
  signal(process: number, signal: string, scope: SignalScope): void;
  attach(process: number, from: OutputFrom): AttachedProcess;
}

/** A piece of a process's output, or how much of it is missing there. */
export type OutputPiece =
  | { stream: "stdout" | "stderr"; data: Buffer }
  | { stream: "stdout" | "stderr"; lost: number };

/** One client's view of a process. Many may attach to one; none of them holds it or another. */
export interface AttachedProcess extends ProcessControls {
  readonly info: ProcessInfo;
  readonly from: { stdout: number; stderr: number };
  /**
   * Its output from there on, as fast as it is taken: what is kept of it, then what comes, without a gap or a repetition, until it has
   * ended. Whoever is so slow that the log has dropped what he has not read is told how much.
   */
  output(signal: AbortSignal): AsyncIterable<OutputPiece>;
  /** As it is now. */
  current(): ProcessInfo;
}

/** `name` is a reference (`python:3.12`, `host/path@sha256:…`) or the digest of a stored image. */
export interface Images {
  list(): Promise<ImageInfo[]>;
  inspect(name: string): Promise<ImageDetail>;
  /** Fetches an image from its registry, ready to run. What is here already is not fetched again. */
  pull(request: PullRequest, context?: OperationContext): Promise<ImageInfo>;
  push(request: PushRequest, context?: OperationContext): Promise<PushResult>;
  tag(source: string, target: string): Promise<ImageInfo>;
  /** Reads a root file system tar (plain, gzip or zstd) with an optional OCI image config (untrusted JSON). */
  import(name: string, tar: Readable, options?: OperationContext & { config?: unknown }): Promise<ImageInfo>;
  /** Reads an OCI layout or what `docker save` wrote, plain, gzip or zstd. */
  load(archive: Readable, context?: OperationContext): Promise<ImageInfo[]>;
  /** The images as one archive. Errors that can be known before come before the first byte. */
  save(names: string[], options?: { format?: ArchiveFormat; signal?: AbortSignal }): Promise<ByteStream>;
  /** The image's merged file system as one tar. */
  export(name: string, options?: { signal?: AbortSignal }): Promise<ByteStream>;
  /** Builds a Dockerfile, every step in a sandbox of its own. `context` is the tar of the build's context. */
  build(context: Readable, request: BuildRequest, operation?: OperationContext): Promise<ImageInfo>;
  remove(name: string): Promise<void>;
  /** Frees what nothing refers to. */
  prune(request?: PruneRequest): Promise<PruneReport>;
  usage(): Promise<ImageUsage>;
  /** Asks the registry whether it takes these credentials, and keeps them if it does. */
  login(request: LoginRequest, context?: OperationContext): Promise<void>;
  /** @throws `not_found` if there are none */
  logout(registry: string): Promise<void>;
}

export type ByteStream = AsyncIterable<Uint8Array>;

export interface Templates {
  list(): Promise<TemplateInfo[]>;
  /** Builds the template of a shape unless it is there. */
  build(shape: TemplateShape, context?: OperationContext): Promise<TemplateInfo>;
  /** @param key the key or a prefix of it that is unique */
  remove(key: string): Promise<void>;
}

export interface Volumes {
  list(): Promise<VolumeInfo[]>;
  /** @throws `not_found` */
  get(name: string): Promise<VolumeInfo>;
  /** @throws `already_exists` */
  create(request: VolumeRequest): Promise<VolumeInfo>;
  /** @throws `invalid_state` naming the sandboxes that have it among their mounts, whether they run or not */
  remove(name: string): Promise<void>;
  /** Removes all that no sandbox has among its mounts. */
  prune(): Promise<VolumePruneReport>;
}

/** VMs that are loaded and wait, for `sandboxes.create` to make sandboxes of. */
export interface Pools {
  list(): PoolInfo[];
  /** How many to keep of an image and a shape, from now on. @throws what keeps the image from being had */
  set(request: PoolRequest, context?: OperationContext): Promise<PoolInfo>;
  /** Keeps none of an image any more, whatever their shape; those that wait are gone. @throws `not_found` */
  remove(image: string): Promise<void>;
  /** Whether somebody has asked for some to be kept. */
  keepsDaemon(): boolean;
}

export interface Events {
  /** Events after `since` (a sequence number; default: only new ones), until the signal. */
  subscribe(options?: { since?: number; signal?: AbortSignal }): AsyncIterable<Event>;
}
