import type { Readable } from "node:stream";
import type { ArchiveFormat, ImageInfo, PushResult } from "../contract/index.ts";
import { sharedConnection } from "./connection.ts";
import type { CallOptions, SlowCallOptions } from "./options.ts";
import { downloadTar } from "./tar-download.ts";

/** Images on their way: from and to registries, archives, files and folders. None of it has a deadline unless one is given. */

/** What the calls with tars share; see there why it is loaded so late. */
const tarTransfer = () => import("./tar-transfer.ts");

export interface ImagePullOptions extends SlowCallOptions {
  /** `linux/amd64`, `linux/arm64/v8`, … Default: this host's. */
  platform?: string | undefined;
  /** Refuse the image unless its manifest or index has this digest. */
  digest?: string | undefined;
}

export interface ImagePushOptions extends SlowCallOptions {
  /** Where to, as `registry/repository:tag`. Default: what the name says. */
  reference?: string | undefined;
}

export interface ImageImportOptions extends SlowCallOptions {
  /** OCI image config (env, user, entrypoint, …), at most 64 KiB of JSON. Default: none. */
  config?: unknown;
}

export interface TarOptions extends CallOptions {
  /** Path of the file to write. Default: none; the tar is returned as a stream. */
  to?: string | undefined;
}

export interface ImageSaveOptions extends TarOptions {
  /** An OCI layout or what `docker save` writes; Docker reads both. Default: `oci`. */
  format?: ArchiveFormat | undefined;
}

/**
 * Fetches an image from its registry, ready to run. What is here already is not fetched again.
 *
 * @example
 * await Image.pull("python:3.12", { onProgress: ({ layer }) => console.log(layer?.digest, layer?.bytes) });
 * @throws SandboxError `not_found`, `unauthenticated`, `unavailable`, `resource_exhausted`, …
 */
export function pull(reference: string, options: ImagePullOptions = {}): Promise<ImageInfo> {
  const { connection = sharedConnection(), signal, deadlineMs, onProgress, platform, digest } = options;
  return connection.json<ImageInfo>({
    method: "POST",
    path: "/v1/images/pull",
    body: { reference, platform, digest },
    signal,
    deadlineMs,
    onProgress,
    purpose: `pull ${reference}`,
  });
}

/** Gives an image to a registry. */
export function push(name: string, options: ImagePushOptions = {}): Promise<PushResult> {
  const { connection = sharedConnection(), signal, deadlineMs, onProgress, reference } = options;
  return connection.json<PushResult>({
    method: "POST",
    path: "/v1/images/push",
    body: { name, reference },
    signal,
    deadlineMs,
    onProgress,
    purpose: `push ${name}`,
  });
}

/**
 * Makes an image of a root file system.
 *
 * @param source a folder, the path of a tar (plain, gzip or zstd), or a tar as a stream. A folder is packed with the host's `tar`; owners
 *   and extended attributes stay as they are, as far as this user may read them.
 */
async function import_(
  name: string,
  source: string | Readable,
  options: ImageImportOptions = {},
): Promise<ImageInfo> {
  const { connection = sharedConnection(), signal, deadlineMs, onProgress, config } = options;
  const { configHeader, tarAt } = await tarTransfer();
  const headers = { "content-type": "application/x-tar", ...configHeader(config) };
  return connection.json<ImageInfo>({
    method: "POST",
    path: "/v1/images/import",
    query: { name },
    upload: typeof source === "string" ? await tarAt(source) : source,
    headers,
    signal,
    deadlineMs,
    onProgress,
    purpose: `import image ${name}`,
  });
}

export { import_ as import };

/**
 * Reads the images of an archive: an OCI layout, or what `docker save` wrote; plain, gzip or zstd.
 *
 * @param archive path of the file, or a stream
 */
export async function load(archive: string | Readable, options: SlowCallOptions = {}): Promise<ImageInfo[]> {
  const { connection = sharedConnection(), signal, deadlineMs, onProgress } = options;
  const { readTarFile } = await tarTransfer();
  const { images } = await connection.json<{ images: ImageInfo[] }>({
    method: "POST",
    path: "/v1/images/load",
    upload: typeof archive === "string" ? await readTarFile(archive) : archive,
    headers: { "content-type": "application/x-tar" },
    signal,
    deadlineMs,
    onProgress,
    purpose: "load images",
  });
  return images;
}

/** Writes images as one archive: to the file `to`, which is there once it is whole, or as a stream. */
export function save(
  names: string | readonly string[],
  options: ImageSaveOptions & { to: string },
): Promise<void>;
export function save(
  names: string | readonly string[],
  options?: ImageSaveOptions & { to?: undefined },
): Promise<Readable>;
export function save(names: string | readonly string[], options: ImageSaveOptions = {}): Promise<unknown> {
  const list = typeof names === "string" ? [names] : names;
  const query = { name: list, format: options.format };
  return downloaded("/v1/images/save", query, `save ${list.join(", ")}`, options);
}

/** Writes an image's merged file system as one tar: to the file `to`, or as a stream. */
function export_(name: string, options: TarOptions & { to: string }): Promise<void>;
function export_(name: string, options?: TarOptions & { to?: undefined }): Promise<Readable>;
function export_(name: string, options: TarOptions = {}): Promise<unknown> {
  return downloaded("/v1/images/export", { name }, `export image ${name}`, options);
}

export { export_ as export };

/** Gets a tar: as a stream, or into the file `to`. */
export async function downloaded(
  path: string,
  query: Record<string, string | readonly string[] | undefined>,
  purpose: string,
  { connection = sharedConnection(), signal, deadlineMs, to }: TarOptions,
): Promise<Readable | undefined> {
  const tar = await downloadTar(connection, { method: "GET", path, query, signal, deadlineMs, purpose });
  if (to === undefined) return tar;
  const { writeTarFile } = await tarTransfer();
  await writeTarFile(tar, to);
  return undefined;
}
