import { mkdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { z } from "zod";
import { contentsOf, type InlineFile, inlineFile, SandboxError } from "../../contract/index.ts";
import type { GuestProcess, ProcessSpec } from "../guest/index.ts";
import { writeDurably } from "../image/index.ts";
import { GuestFiles } from "./files/index.ts";

/**
 * The files that a spec brings along. They are put in place once, at the first start that comes to it, before any process. Until then
 * they wait in a file of their own: the record of a sandbox is shown to whoever asks, and contents may be a secret.
 */
const WAITING_FILE = "inline-files.json";
const TIMEOUT_MS = 30_000;

/** Keeps them until the sandbox starts. @param directory the sandbox's own */
export async function keepFiles(directory: string, files: readonly InlineFile[]): Promise<void> {
  if (files.length === 0) return;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await writeDurably(join(directory, WAITING_FILE), JSON.stringify(files), 0o600);
}

/**
 * Puts what waits in place.
 * @param start starts a process of the agent's
 * @throws what the guest could not do, with the path: an owner that it does not know, a folder where the file is to be; `timeout`
 */
export async function placeFiles(
  directory: string,
  start: (spec: ProcessSpec) => Promise<GuestProcess>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const waiting = join(directory, WAITING_FILE);
  const text = await readFile(waiting, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (text === undefined) return;
  const files = z.array(inlineFile).parse(JSON.parse(text));
  const guest = new GuestFiles("", NOBODY_WATCHES, start);
  const late = AbortSignal.timeout(TIMEOUT_MS);
  const ended = AbortSignal.any([late, ...(signal === undefined ? [] : [signal])]);
  // What waits for the guest ends with its process.
  const onEnd = () => guest.release();
  ended.addEventListener("abort", onEnd);
  try {
    for (const file of files) {
      ended.throwIfAborted();
      await placeOne(guest, file);
    }
  } catch (cause) {
    if (!late.aborted) throw cause;
    throw new SandboxError("timeout", "the guest did not take the files of its spec in time", { cause });
  } finally {
    ended.removeEventListener("abort", onEnd);
    guest.release();
  }
  await rm(waiting, { force: true });
}

async function placeOne(guest: GuestFiles, file: InlineFile): Promise<void> {
  const { path, mode, owner } = file;
  const folder = dirname(path);
  if (folder !== "/") await guest.operate({ op: "mkdir", path: folder, parents: true });
  await guest.write({ path, mode, owner }, Readable.from([contentsOf(file)]));
}

/** The sandbox does not run yet: there is no idleness to be kept from. */
const NOBODY_WATCHES = {
  busy: () => () => {},
  reading: <T>(source: AsyncIterable<T>) => source as AsyncGenerator<T>,
};
