import type { Readable } from "node:stream";
import { SandboxError } from "../contract/errors.ts";
import type {
  ForkRequestInput,
  RestoreRequestInput,
  SandboxInfo,
  SnapshotInfo,
  SnapshotRequestInput,
} from "../contract/index.ts";
import { MAX_PASSPHRASE_BYTES, PASSPHRASE_HEADER } from "../contract/passphrase.ts";
import { type Connection, sharedConnection } from "./connection.ts";
import { type CallOptions, QUICK_MS, SLOW_MS, type SlowCallOptions } from "./options.ts";
import { type PrepareOptions, prepare } from "./prepare.ts";
import { Sandbox } from "./sandbox.ts";
import { storeSandbox } from "./store-sandbox.ts";

/** What becomes of named volumes that the sandbox may write to: `refuse` (default) to store it, or store a `copy` of them. */
export type StoredVolumes = NonNullable<SnapshotRequestInput["volumes"]>;

export type SnapshotCreateOptions = Omit<SnapshotRequestInput, "prepared" | "replaces"> & SlowCallOptions;
export type ForkOptions = ForkRequestInput & SlowCallOptions;
/** `name` and `count` of what is made, and what may differ in it from what was stored. */
export type RestoreOptions = Omit<RestoreRequestInput, "changes"> &
  NonNullable<RestoreRequestInput["changes"]> &
  SlowCallOptions;

export interface SnapshotExportOptions extends CallOptions {
  /** Path of the file to write; only its owner may read it. Default: none; the bytes are returned as a stream. */
  to?: string | undefined;
  /** Encrypts it, in the format of age. Default: it is not encrypted. At most 1,024 bytes. */
  passphrase?: string | undefined;
}

export interface SnapshotImportOptions extends SlowCallOptions {
  /** Default: the name that it had. */
  name?: string | undefined;
  /** What it was exported with. */
  passphrase?: string | undefined;
}

/**
 * A stored state of a sandbox: memory, processes and disks of one that ran, disks of one that was stopped.
 *
 * @example
 * const snapshot = await sandbox.snapshot({ name: "before" });
 * const [again] = await snapshot.restore();
 */
export class Snapshot {
  readonly info: SnapshotInfo;
  readonly #connection: Connection;

  private constructor(connection: Connection, info: SnapshotInfo) {
    this.#connection = connection;
    this.info = info;
  }

  /**
   * Stores the state of a sandbox, which goes on as it was. Deadline: 15 minutes.
   *
   * @param sandbox its name or id
   * @throws SandboxError `invalid_state` (it has failed, or may write to volumes that are not to be copied), `already_exists`, …
   */
  static async create(sandbox: string, options: SnapshotCreateOptions = {}): Promise<Snapshot> {
    const { connection = sharedConnection(), signal, deadlineMs, onProgress, ...body } = options;
    const call = { signal, deadlineMs, onProgress };
    return new Snapshot(connection, await storeSandbox(connection, sandbox, body, call));
  }

  /** By name or id. @throws SandboxError `not_found` */
  static async get(ref: string, options: CallOptions = {}): Promise<Snapshot> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    const path = `/v1/snapshots/${encodeURIComponent(ref)}`;
    const purpose = `get snapshot ${ref}`;
    return new Snapshot(
      connection,
      await connection.json({ method: "GET", path, signal, deadlineMs, purpose }),
    );
  }

  /**
   * Removes one by name or id, as {@link Snapshot.prototype.remove} does. One that is damaged cannot be got, but removed.
   *
   * @throws SandboxError `not_found`
   */
  static async remove(ref: string, options: CallOptions = {}): Promise<void> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    const path = `/v1/snapshots/${encodeURIComponent(ref)}`;
    const purpose = `remove snapshot ${ref}`;
    await connection.json<void>({ method: "DELETE", path, signal, deadlineMs, purpose });
  }

  /** All of them, oldest first. */
  static async list(options: CallOptions = {}): Promise<Snapshot[]> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    const { snapshots } = await connection.json<{ snapshots: SnapshotInfo[] }>({
      method: "GET",
      path: "/v1/snapshots",
      signal,
      deadlineMs,
      purpose: "list snapshots",
    });
    return snapshots.map((info) => new Snapshot(connection, info));
  }

  /**
   * Reads what {@link export} wrote, maybe on another host. Deadline: none.
   *
   * @param file its path, or a stream
   * @throws SandboxError `unauthenticated` (the passphrase), `already_exists`, `invalid_argument` (no such file, or damaged)
   */
  static async import(file: string | Readable, options: SnapshotImportOptions = {}): Promise<Snapshot> {
    const { connection = sharedConnection(), signal, deadlineMs, onProgress, name, passphrase } = options;
    const headers = passphraseHeader(passphrase);
    const { readTarFile } = await import("./tar-transfer.ts");
    const info = await connection.json<SnapshotInfo>({
      method: "POST",
      path: "/v1/snapshots/import",
      query: { name },
      upload: typeof file === "string" ? await readTarFile(file) : file,
      headers: { "content-type": "application/octet-stream", ...headers },
      signal,
      deadlineMs,
      onProgress,
      purpose: "import a snapshot",
    });
    return new Snapshot(connection, info);
  }

  /**
   * Makes a prepared image: starts a sandbox, runs a script in it, waits until it is ready, and stores that. Sandboxes are then created
   * of its name as of any image's, and go on from there. Does nothing if that is there and what it was made of has not changed.
   *
   * @example
   * await Snapshot.prepare({ as: "numbers", image: "msb/python", run: "python3 /srv/warm.py", ready: "test -e /run/warm" });
   * await using sandbox = await Sandbox.create({ image: "numbers" });
   * @throws SandboxError `timeout` (it is not ready in time), `invalid_argument` (the script failed), `already_exists` (a snapshot that
   *   is no prepared image has the name), and what creating a sandbox throws
   */
  static async prepare(options: PrepareOptions): Promise<Snapshot> {
    const { connection = sharedConnection() } = options;
    return new Snapshot(connection, await prepare(connection, options));
  }

  get id(): string {
    return this.info.id;
  }

  get name(): string {
    return this.info.name;
  }

  /**
   * Makes sandboxes that go on from here. They share what none of them has written. After an error there is none of them. Deadline: 15
   * minutes.
   *
   * @throws SandboxError `unsupported` naming what differs, if this host cannot load it; `internal` if it is damaged
   */
  async restore(options: RestoreOptions = {}): Promise<Sandbox[]> {
    const {
      connection = this.#connection,
      signal,
      deadlineMs = SLOW_MS,
      onProgress,
      name,
      count,
      ...changes
    } = options;
    const { sandboxes } = await connection.json<{ sandboxes: SandboxInfo[] }>({
      method: "POST",
      path: `${this.#path}/restore`,
      body: { name, count, changes },
      signal,
      deadlineMs,
      onProgress,
      purpose: `restore snapshot ${this.name}`,
    });
    return sandboxes.map((info) => Sandbox.of(info, { connection }));
  }

  /** Reads all of it and compares it with its checksums. Deadline: none. @throws SandboxError `internal` naming the file that is damaged */
  async verify(options: SlowCallOptions = {}): Promise<SnapshotInfo> {
    const { connection = this.#connection, signal, deadlineMs, onProgress } = options;
    const purpose = `verify snapshot ${this.name}`;
    const path = `${this.#path}/verify`;
    return connection.json({ method: "POST", path, signal, deadlineMs, onProgress, purpose });
  }

  /** Removes it. What was made of it stays whole: sandboxes, and snapshots of those. */
  async remove(options: CallOptions = {}): Promise<void> {
    await Snapshot.remove(this.id, { connection: this.#connection, ...options });
  }

  /**
   * All of it as one file, to be imported elsewhere. It holds all that was in the sandbox's memory, so its secrets too. Deadline: none.
   */
  export(options: SnapshotExportOptions & { to: string }): Promise<void>;
  export(options?: SnapshotExportOptions & { to?: undefined }): Promise<Readable>;
  async export(options: SnapshotExportOptions = {}): Promise<unknown> {
    const { connection = this.#connection, signal, deadlineMs, to, passphrase } = options;
    const { downloadTar } = await import("./tar-download.ts");
    const file = await downloadTar(connection, {
      method: "GET",
      path: `${this.#path}/export`,
      headers: passphraseHeader(passphrase),
      signal,
      deadlineMs,
      purpose: `export snapshot ${this.name}`,
    });
    if (to === undefined) return file;
    const { writeTarFile } = await import("./tar-transfer.ts");
    await writeTarFile(file, to, { mode: 0o600 });
    return undefined;
  }

  toJSON(): SnapshotInfo {
    return this.info;
  }

  get #path(): string {
    return `/v1/snapshots/${encodeURIComponent(this.info.id)}`;
  }
}

/** Makes sandboxes that go on from where one is. @internal */
export async function fork(of: Sandbox, connection: Connection, options: ForkOptions): Promise<Sandbox[]> {
  const { signal, deadlineMs = SLOW_MS, onProgress, connection: _, ...body } = options;
  const { sandboxes } = await connection.json<{ sandboxes: SandboxInfo[] }>({
    method: "POST",
    path: `/v1/sandboxes/${encodeURIComponent(of.id)}/fork`,
    body,
    signal,
    deadlineMs,
    onProgress,
    purpose: `fork sandbox ${of.name}`,
  });
  return sandboxes.map((info) => Sandbox.of(info, { connection }));
}

function passphraseHeader(passphrase: string | undefined): Record<string, string> {
  if (passphrase === undefined) return {};
  const bytes = Buffer.from(passphrase);
  if (bytes.length > 0 && bytes.length <= MAX_PASSPHRASE_BYTES)
    return { [PASSPHRASE_HEADER]: bytes.toString("base64url") };
  throw new SandboxError(
    "invalid_argument",
    bytes.length === 0
      ? "the passphrase is empty"
      : `the passphrase has ${bytes.length} bytes, ${MAX_PASSPHRASE_BYTES} are allowed`,
  );
}
