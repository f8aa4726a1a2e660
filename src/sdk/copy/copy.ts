import { lstat, realpath, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { SandboxError } from "../../contract/errors.ts";
import { fromBytes } from "../../tar/index.ts";
import type { Files } from "../files.ts";
import { folderNames } from "../folder-names.ts";
import { packWithTar } from "../host-tar.ts";
import { type CopyEnd, meansContents, nameOf, placementOf } from "./destination.ts";
import { refusedBy } from "./host-error.ts";
import { renamedTar } from "./renamed-tar.ts";
import { type CopyProgress, type Unpacked, unpack } from "./unpack.ts";

export interface CopyOptions {
  /** Keep owners, which needs root where the copy is made. Default: it is root's in the sandbox, and one's own on this machine. */
  archive?: boolean | undefined;
  /** Copy what the source leads to, if it is a link. Links below it stay links. Default: false */
  follow?: boolean | undefined;
  /** Told as it goes on. */
  onProgress?: ((progress: CopyProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** Copies a file or a folder of this machine into a sandbox; see `placementOf` for where to. */
export async function copyIn(
  files: Files,
  from: string,
  to: string,
  options: CopyOptions = {},
): Promise<CopyProgress> {
  const { archive = false, signal } = options;
  const path = options.follow ? await onHost(from, () => realpath(from)) : from;
  const source: CopyEnd = {
    path: from,
    is: await hostKind(path, { follow: meansContents(path) || path.endsWith("/") }),
  };
  if (source.is === "nothing") throw missingHere(from);
  const { folder, name } = placementOf(source, { path: to, is: await guestKind(files, to) });
  const isFolder = source.is === "folder";
  const parent = isFolder ? path : resolve(path, "..");
  const own = nameOf(resolve(path))!;
  const packed = await packWithTar(isFolder ? folderNames(path) : only(own), {
    folder: parent,
    owners: archive ? "kept" : "root",
  });
  let progress: CopyProgress = { entries: 0, bytes: 0 };
  const told = (now: CopyProgress) => {
    progress = now;
    options.onProgress?.(now);
  };
  const tar = renamedTar(
    packed,
    isFolder ? undefined : bytesOf(own),
    name === undefined ? undefined : bytesOf(name),
    told,
  );
  try {
    await files.extract(folder, tar, { keepOwners: archive, signal });
  } finally {
    packed.destroy();
  }
  return progress;
}

/** Copies a file or a folder of a sandbox to this machine; see `placementOf` for where to, and `unpack` for what is not copied. */
export async function copyOut(
  files: Files,
  from: string,
  to: string,
  options: CopyOptions = {},
): Promise<Unpacked> {
  const { archive = false, follow = false, signal, onProgress } = options;
  const is = await guestKind(files, from, { follow: follow || meansContents(from) || from.endsWith("/") });
  const source: CopyEnd = { path: from, is };
  // The sandbox says itself that there is nothing.
  if (is === "nothing") await files.lstat(from, { signal });
  const { folder, name } = placementOf(source, { path: to, is: await hostKind(to, { follow: true }) });
  if ((await hostKind(folder, { follow: true })) !== "folder") {
    throw new SandboxError("not_found", `there is no folder '${folder}' on this machine to copy to`);
  }
  const top = meansContents(from) ? undefined : nameOf(from);
  const tar = await files.archive(from, { follow, signal });
  try {
    return await unpack(tar, { folder, top, name, owners: archive, onProgress, signal });
  } finally {
    tar.destroy();
  }
}

async function* only(name: string): AsyncGenerator<Buffer> {
  yield Buffer.from(`./${name}`); // an option would begin with a dash
}

function bytesOf(name: string): string {
  return fromBytes(Buffer.from(name));
}

async function guestKind(files: Files, path: string, { follow = true } = {}): Promise<CopyEnd["is"]> {
  try {
    const { type } = follow ? await files.stat(path) : await files.lstat(path);
    return type === "directory" ? "folder" : "file";
  } catch (error) {
    if (error instanceof SandboxError && error.code === "not_found") return "nothing";
    throw error;
  }
}

async function hostKind(path: string, { follow }: { follow: boolean }): Promise<CopyEnd["is"]> {
  try {
    const found = await (follow ? stat(path) : lstat(path));
    return found.isDirectory() ? "folder" : "file";
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "nothing";
    return onHost(path, () => Promise.reject(error));
  }
}

async function onHost<T>(path: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") throw missingHere(path);
    throw typeof code === "string" ? refusedBy(code, `'${path}'`, error) : error;
  }
}

function missingHere(path: string): SandboxError {
  return new SandboxError("not_found", `there is no '${path}' on this machine`);
}
