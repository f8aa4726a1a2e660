import { createHash } from "node:crypto";
import { SandboxError } from "../contract/errors.ts";
import type { SandboxSpecInput, SnapshotInfo } from "../contract/index.ts";
import type { Connection } from "./connection.ts";
import type { Copy } from "./copies.ts";
import { Image } from "./image.ts";
import { QUICK_MS, SLOW_MS, type SlowCallOptions } from "./options.ts";
import { Sandbox } from "./sandbox.ts";
import { storeSandbox } from "./store-sandbox.ts";
import { untilReady } from "./until-ready.ts";

/** Prepared images: a sandbox that has come as far as its users want to begin, stored under a name that is used as an image's. */

const DEFAULT_READY_MS = 5 * 60_000;
const MAX_NAME = 63;

/** Where sandboxes of the image begin, and how the sandbox that gets there is made. `deadlineMs` is that of each call, not of all. */
export interface PrepareOptions
  extends Omit<SandboxSpecInput, "name" | "command" | "autoRemove">,
    SlowCallOptions {
  /** Name of the prepared image. */
  as: string;
  /** Script that the sandbox's shell runs. What it has started runs on in every sandbox of the image. */
  run: string;
  /** Script that ends with 0 once it is ready; asked again and again. Default: it is ready when `run` has ended with 0. */
  ready?: string | undefined;
  /** How long that may take. Default: 300,000. */
  readyTimeoutMs?: number | undefined;
  /** Files and folders of this machine that are there before the script. With them it is always made anew: they may have changed. */
  copies?: readonly Copy[] | undefined;
  /** Make it anew although nothing has changed. Default: false. */
  force?: boolean | undefined;
}

/** See {@link Snapshot.prepare}. @internal */
export async function prepare(connection: Connection, options: PrepareOptions): Promise<SnapshotInfo> {
  const { as, run, ready, readyTimeoutMs = DEFAULT_READY_MS, force = false, ...rest } = options;
  const { signal, onProgress, deadlineMs, connection: _, copies = [], ...spec } = rest;
  const call = { connection, signal, onProgress, deadlineMs: deadlineMs ?? SLOW_MS };
  const base = await preparedBase(connection, spec.image, signal);
  const recipe = createHash("sha256")
    .update(JSON.stringify(sorted({ ...spec, base: base?.id })))
    .digest("hex");
  const there = await existing(connection, as, signal);
  const wanted = { image: spec.image, run, ready, recipe };
  const usable = there !== undefined && !force && copies.length === 0 && isSame(there, wanted);
  // Of a prepared image the recipe says which one it was; an image may have moved.
  if (usable && (base !== undefined || (await isOfImage(there, spec, call)))) return there;

  onProgress?.({ task: `preparing ${as}: starting a sandbox` });
  const sandbox = await Sandbox.create({ ...call, ...spec, copies, name: sandboxNameFor(as) });
  try {
    onProgress?.({ task: `preparing ${as}: waiting until it is ready` });
    await untilReady(sandbox, { as, run, ready, timeoutMs: readyTimeoutMs, signal });
    onProgress?.({ task: `preparing ${as}: storing it` });
    const prepared = { ...wanted, digest: sandbox.info.imageDigest };
    // The old one goes when the new one is there: nothing that fails leaves its users without.
    const replaces = there?.id;
    return await storeSandbox(connection, sandbox.id, { name: as, replaces, prepared }, call);
  } finally {
    // Not with the signal: a sandbox that nobody waits for any more would stay.
    await sandbox.remove({ force: true }).catch(() => {});
  }
}

/** The prepared image of this name, which goes before an image that has it. */
async function preparedBase(
  connection: Connection,
  image: string,
  signal: AbortSignal | undefined,
): Promise<SnapshotInfo | undefined> {
  // Most names of images are none that a snapshot can have.
  if (image.length > MAX_NAME || /[^a-z0-9-]/.test(image)) return undefined;
  const found = await lookFor(connection, image, signal);
  return found?.name === image && found.prepared !== undefined ? found : undefined;
}

async function existing(
  connection: Connection,
  name: string,
  signal: AbortSignal | undefined,
): Promise<SnapshotInfo | undefined> {
  const found = await lookFor(connection, name, signal);
  if (found === undefined || found.name !== name || found.prepared !== undefined) return found;
  throw new SandboxError(
    "already_exists",
    `there is a snapshot '${name}' already, and it is no prepared image`,
    {
      hint: `Choose another name, or remove it: msb snapshot rm ${name}`,
    },
  );
}

async function lookFor(
  connection: Connection,
  name: string,
  signal: AbortSignal | undefined,
): Promise<SnapshotInfo | undefined> {
  const path = `/v1/snapshots/${encodeURIComponent(name)}`;
  const purpose = `look for snapshot ${name}`;
  try {
    return await connection.json({ method: "GET", path, signal, deadlineMs: QUICK_MS, purpose });
  } catch (error) {
    if (error instanceof SandboxError && error.code === "not_found") return undefined;
    throw error;
  }
}

/** Whether it was made in the same way. */
function isSame(
  { prepared }: SnapshotInfo,
  wanted: Omit<NonNullable<SnapshotInfo["prepared"]>, "digest">,
): boolean {
  return (["image", "run", "ready", "recipe"] as const).every((field) => prepared?.[field] === wanted[field]);
}

/** Whether it was made of what the image is now. One that moves is fetched first, if it is to be. */
async function isOfImage(
  { prepared }: SnapshotInfo,
  { image, pull, platform }: Pick<SandboxSpecInput, "image" | "pull" | "platform">,
  call: SlowCallOptions,
): Promise<boolean> {
  if (pull === "always") await Image.pull(image, { ...call, platform });
  try {
    return (await Image.inspect(image, call)).digest === prepared?.digest;
  } catch (error) {
    if (error instanceof SandboxError && error.code === "not_found") return false;
    throw error;
  }
}

/** Two that prepare the same at a time: the second is told. */
function sandboxNameFor(as: string): string {
  return `prepare-${as}`.slice(0, MAX_NAME).replace(/-+$/, "");
}

/** With the keys of every object in order, so that the same recipe is the same text. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(
    entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, field]) => [key, sorted(field)]),
  );
}
