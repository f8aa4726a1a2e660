import type { Duplex } from "node:stream";
import { SandboxError } from "../../contract/errors.ts";
import {
  encodeHello,
  encodeMount,
  encodePing,
  encodePrepare,
  encodeSetup,
  encodeShutdown,
  encodeStart,
  encodeStats,
  type GuestMount,
  type GuestNetwork,
  type ProcessSpec,
  type Setup,
} from "./commands.ts";
import {
  type AgentInfo,
  type PingResult,
  readConnectionMessage,
  readHello,
  readPingResult,
  readSetupResult,
  readShutdownResult,
  type SetupResult,
  type ShutdownResult,
} from "./control.ts";
import { type Wait, withDeadline } from "./deadline.ts";
import type { Fields } from "./fields.ts";
import { type Frame, FrameType, MAX_CHANNEL } from "./frame.ts";
import { FrameDecoder } from "./frame-decoder.ts";
import { GuestLog } from "./guest-log.ts";
import type { AdoptOptions, CloseReason, OpenOptions, StartOptions } from "./options.ts";
import { GuestProcess, type ProcessLink } from "./process.ts";
import { ReleasedChannels } from "./released-channels.ts";
import { Requests } from "./requests.ts";
import { Sender } from "./sender.ts";
import { type GuestStats, readStats } from "./stats.ts";
import { newNonce, SyncHunter, syncSequence } from "./sync.ts";
import { violation } from "./violation.ts";

const DEFAULT_TIMEOUT_MS = 10_000;
/** What a shutdown may take beyond its grace (spec, "shutdown"), and as much again for a slow host. */
const SHUTDOWN_EXTRA_MS = 3_000;
/** Frames handled before other sandboxes get their turn of the event loop. */
const FRAMES_PER_TURN = 512;
const HOST = "microsandbox";

/**
 * The host's end of the agent protocol over one stream (spec/agent-protocol.md).
 *
 * Life: `open` synchronizes and says hello; `setup` once per boot or load; then processes are started or, if an
 * earlier host started them, adopted; `close`, a lost stream or a violation by the guest ends it. Whatever the
 * guest sends, nothing is thrown but out of the calls that wait for it.
 */
export class AgentConnection implements Disposable {
  /** How this connection ended. Never rejects. */
  readonly closed: Promise<CloseReason>;
  readonly #stream: Duplex;
  readonly #sender: Sender;
  readonly #link: ProcessLink;
  readonly #log: GuestLog | undefined;
  readonly #onOutOfMemory: ((kills: number) => void) | undefined;
  readonly #requests = new Requests();
  readonly #decoder = new FrameDecoder();
  readonly #processes = new Map<number, GuestProcess>();
  // Listed by the hello and not adopted yet.
  readonly #adoptable = new Set<number>();
  readonly #released = new ReleasedChannels();
  readonly #hello = Promise.withResolvers<AgentInfo>();
  readonly #closed = Promise.withResolvers<CloseReason>();
  readonly #hunter: SyncHunter;
  readonly #nonce = newNonce();
  #synchronized = false;
  #info: AgentInfo | undefined;
  #running = false;
  #setupResult: SetupResult | undefined;
  #reason: CloseReason | undefined;

  private constructor(stream: Duplex, { onLog, onOutOfMemory }: OpenOptions) {
    this.#stream = stream;
    this.#sender = new Sender(stream);
    this.#link = { sender: this.#sender, forget: (channel) => this.#forget(channel) };
    this.#log = onLog === undefined ? undefined : new GuestLog(onLog);
    this.#onOutOfMemory = onOutOfMemory;
    this.#hunter = new SyncHunter(this.#nonce);
    this.closed = this.#closed.promise;
    this.#hello.promise.catch(() => {});
    stream.on("data", (chunk: Buffer) => this.#receive(chunk));
    stream.on("error", (cause) => this.#gone(`failed: ${cause.message}`, cause));
    stream.on("end", () => this.#gone("was closed by the VM"));
    stream.on("close", () => this.#gone("was closed by the VM"));
  }

  /**
   * Says hello over a connected stream, which the connection owns from here on: it is destroyed when this fails.
   *
   * @throws SandboxError `timeout`, `cancelled`, `unavailable` (the stream ended), `unsupported` (no version in
   *   common), `internal` (a violation), or what the guest's `setup` failed with
   */
  static async open(stream: Duplex, options: OpenOptions): Promise<AgentConnection> {
    const connection = new AgentConnection(stream, options);
    try {
      await connection.#open(options);
    } catch (error) {
      connection.close();
      throw error;
    }
    return connection;
  }

  /** What the guest said of itself in its hello. */
  get info(): AgentInfo {
    if (this.#info === undefined)
      throw new SandboxError("invalid_state", "the guest has not answered the hello");
    return this.#info;
  }

  /** Whether processes may be started: the guest's setup was done, by this host or an earlier one. */
  get running(): boolean {
    return this.#running;
  }

  /** What the setup on this connection gave; undefined before, and when an earlier host had done it. */
  get setupResult(): SetupResult | undefined {
    return this.#setupResult;
  }

  /**
   * Hands identity and devices to the guest; once per boot or load. A guest whose setup failed is of no use.
   *
   * @throws SandboxError `invalid_state` when it was done before, or what the guest failed with
   */
  setup(setup: Setup, wait: Wait = {}): Promise<SetupResult> {
    const read = (result: Fields) => {
      this.#setupResult = readSetupResult(result);
      this.#running = true;
      return this.#setupResult;
    };
    return this.request("setup", (id) => encodeSetup(id, setup), read, wait);
  }

  /**
   * Has the guest do before it is stored what it need not do after every load: mount the fresh upper file system.
   *
   * @throws SandboxError `invalid_state` after setup, or what the guest failed with
   */
  async prepare(network?: GuestNetwork, wait: Wait = {}): Promise<void> {
    const message = (id: number) => encodePrepare(id, network);
    await this.request("prepare", message, () => undefined, wait);
  }

  /**
   * Mounts a volume or a tmpfs; after setup and before the first process, mount points that lie in others after those.
   *
   * @throws SandboxError `invalid_argument` when the mount point cannot be one, or what the guest failed with
   */
  async mount(mount: GuestMount, wait: Wait = {}): Promise<void> {
    const message = (id: number) => encodeMount(id, mount);
    await this.request("mount", message, () => undefined, wait);
  }

  /** @param wait `setTimeNs`: what the guest's wall clock is set to first */
  ping({ setTimeNs, ...wait }: Wait & { setTimeNs?: bigint } = {}): Promise<PingResult> {
    return this.request("ping", (id) => encodePing(id, setTimeNs), readPingResult, wait);
  }

  /** What the guest's kernel counts. @throws SandboxError `unsupported` by an agent of an older template */
  stats(wait: Wait = {}): Promise<GuestStats> {
    return this.request("stats", encodeStats, readStats, wait);
  }

  /**
   * Ends all processes, TERM first and KILL after `graceMs`, and powers the guest off. The stream ends soon after
   * the reply, or before it when the VM was faster: then this rejects with `unavailable`, and the machine's exit
   * tells. Default timeout: `graceMs` and 3 seconds.
   */
  shutdown(graceMs: number, wait: Wait = {}): Promise<ShutdownResult> {
    const timeoutMs = wait.timeoutMs ?? graceMs + SHUTDOWN_EXTRA_MS;
    const encode = (id: number) => encodeShutdown(id, graceMs);
    return this.request("shutdown", encode, readShutdownResult, { ...wait, timeoutMs });
  }

  /**
   * Starts a process on a channel that was never used within this sandbox's life (1 … 2^31−1).
   *
   * @throws SandboxError what the guest could not do, with `details.exitCode` 126 or 127 as shells have it;
   *   `invalid_state` before setup; `invalid_argument`; `timeout` and `cancelled`, when the process is killed
   */
  async start(channel: number, spec: ProcessSpec, options: StartOptions = {}): Promise<GuestProcess> {
    this.#checkOpen();
    if (!this.#running)
      throw new SandboxError("invalid_state", "the guest is not set up: nothing can be started");
    if (!Number.isInteger(channel) || channel < 1 || channel > MAX_CHANNEL) {
      throw new SandboxError("invalid_argument", `channel ${channel} is not within 1 … 2^31-1`);
    }
    if (this.#processes.has(channel) || this.#released.has(channel)) {
      throw new SandboxError("invalid_argument", `channel ${channel} was used before`);
    }
    if (spec.pty !== undefined && !this.info.capabilities.includes("pty")) {
      throw new SandboxError("unsupported", "the guest's agent has no terminals");
    }
    if (spec.builtin !== undefined && !this.info.capabilities.includes(spec.builtin)) {
      throw new SandboxError("unsupported", `the guest's agent is too old for ${spec.builtin}`, {
        hint: "Start the sandbox anew: it then gets the present agent.",
      });
    }
    const payload = encodeStart(spec);
    const process = new GuestProcess(this.#link, {
      channel,
      pid: 0,
      stdin: spec.stdin ?? false,
      stdinReceived: 0,
      stdoutStart: 0,
      stderrStart: 0,
    });
    // The first window goes in the same write: the output of a short command needs no further round trip.
    process.open({ stdout: 0, stderr: 0 }, options.windowBytes);
    this.#sender.control(channel, payload);
    this.#processes.set(channel, process);
    const waiting = () => `the guest to start ${JSON.stringify(spec.argv[0])}`;
    await withDeadline(process.started, limits(options), waiting, () => process.release());
    return process;
  }

  /**
   * Takes over a process that the hello listed, from an earlier host. Its `lost` says how many bytes of each
   * output are gone: those that the guest had to drop while no host was there.
   *
   * @throws SandboxError `not_found` when the hello did not list it; `invalid_state` when it was adopted before;
   *   `invalid_argument` when an offset lies beyond what the process has written
   */
  adopt(channel: number, options: AdoptOptions): GuestProcess {
    this.#checkOpen();
    const listed = this.info.processes.find((process) => process.channel === channel);
    if (listed === undefined)
      throw new SandboxError("not_found", `the guest knows no process on channel ${channel}`);
    const process = this.#processes.get(channel);
    if (process === undefined || !this.#adoptable.has(channel)) {
      throw new SandboxError("invalid_state", `the process on channel ${channel} was adopted before`);
    }
    const { stdoutFrom, stderrFrom, windowBytes } = options;
    if (stdoutFrom > listed.stdout.end || stderrFrom > listed.stderr.end) {
      throw new SandboxError(
        "invalid_argument",
        `process ${listed.pid} has not written as much as was kept of it`,
      );
    }
    // A window from `stdoutFrom` on might end before what the guest still has: it starts where the guest does.
    const from = {
      stdout: Math.max(stdoutFrom, listed.stdout.start),
      stderr: Math.max(stderrFrom, listed.stderr.start),
    };
    const lost = { stdout: from.stdout - stdoutFrom, stderr: from.stderr - stderrFrom };
    process.open(from, windowBytes, lost);
    this.#adoptable.delete(channel);
    return process;
  }

  /** Closes the stream; everything pending rejects with `unavailable`. The guest's processes run on. */
  close(): void {
    this.#end({ by: "host", error: unavailable("was closed") });
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #open(options: OpenOptions): Promise<void> {
    this.#sender.raw(syncSequence(this.#nonce, options.filler));
    this.#sender.control(0, encodeHello(HOST));
    const wait = limits(options);
    const setup = options.setup === undefined ? undefined : this.setup(options.setup, wait);
    // When the hello fails, the setup does too, and the hello's error says more.
    setup?.catch(() => {});
    const waiting = () => `the guest agent's hello; ${this.#hunter.skipped} stale bytes came`;
    const info = await withDeadline(this.#hello.promise, wait, waiting, () => {});
    if (info.phase === "running") this.#running = true;
    await setup;
  }

  async request<T>(
    name: string,
    encode: (id: number) => Buffer,
    read: (result: Fields) => T,
    wait: Wait,
  ): Promise<T> {
    this.#checkOpen();
    const { id, reply } = this.#requests.open(read);
    const forget = () => this.#requests.forget(id);
    try {
      this.#sender.control(0, encode(id));
    } catch (error) {
      forget();
      throw error;
    }
    return await withDeadline(reply, limits(wait), () => `the guest's reply to ${name}`, forget);
  }

  #checkOpen(): void {
    if (this.#reason !== undefined) throw this.#reason.error;
  }

  #receive(chunk: Buffer): void {
    if (this.#reason !== undefined) return;
    try {
      let rest: Buffer | undefined = chunk;
      if (!this.#synchronized) {
        rest = this.#hunter.push(chunk);
        if (rest === undefined) return;
        this.#synchronized = true;
      }
      let frames = 0;
      for (const frame of this.#decoder.push(rest)) {
        this.#receiveFrame(frame);
        if (this.#reason !== undefined) return;
        frames += 1;
      }
      if (frames > FRAMES_PER_TURN) this.#yield();
    } catch (error) {
      this.#end({ by: "violation", error: SandboxError.from(error) });
    }
  }

  /** Tiny frames cost far more than their bytes: a guest that floods us with them gets one read per turn. */
  #yield(): void {
    this.#stream.pause();
    setImmediate(() => this.#stream.resume());
  }

  #receiveFrame(frame: Frame): void {
    if (frame.channel !== 0) {
      if (this.#info === undefined) throw violation("its first message is no hello");
      const process = this.#processes.get(frame.channel);
      if (process !== undefined) process.receive(frame);
      else if (!this.#released.has(frame.channel))
        throw violation("a frame on a channel that was not opened");
      return;
    }
    if (frame.type !== FrameType.control) throw violation("data or credit on channel 0");
    if (this.#info === undefined) {
      this.#receiveHello(frame.payload);
      return;
    }
    const message = readConnectionMessage(frame.payload);
    if (message.op === "log") this.#log?.add(message);
    else if (message.op === "oom") this.#onOutOfMemory?.(message.kills);
    else this.#requests.receive(message);
  }

  #receiveHello(payload: Buffer): void {
    const info = readHello(payload);
    for (const { channel, pid, stdinReceived, stdout, stderr } of info.processes) {
      const process = new GuestProcess(this.#link, {
        channel,
        pid,
        stdin: true,
        stdinReceived,
        stdoutStart: stdout.start,
        stderrStart: stderr.start,
      });
      this.#processes.set(channel, process);
      this.#adoptable.add(channel);
    }
    this.#info = info;
    this.#hello.resolve(info);
  }

  #forget(channel: number): void {
    this.#processes.delete(channel);
    this.#released.add(channel);
  }

  #gone(how: string, cause?: unknown): void {
    this.#end({ by: "guest", error: unavailable(how, cause) });
  }

  #end(reason: CloseReason): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#sender.stop();
    this.#stream.destroy();
    this.#hello.reject(reason.error);
    this.#requests.rejectAll(reason.error);
    for (const process of this.#processes.values()) process.end(reason.error);
    this.#processes.clear();
    this.#closed.resolve(reason);
  }
}

function limits(wait: Wait): { timeoutMs: number; signal: AbortSignal | undefined } {
  return { timeoutMs: wait.timeoutMs ?? DEFAULT_TIMEOUT_MS, signal: wait.signal };
}

function unavailable(how: string, cause?: unknown): SandboxError {
  return new SandboxError("unavailable", `the connection to the guest agent ${how}`, { cause });
}
