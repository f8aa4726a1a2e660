import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { SandboxError } from "../../contract/index.ts";

/** What a template's folder holds, and how to tell that it still holds it. */

export const MEMORY_FILE = "memory";
export const STATE_FILE = "state";
/** Overlay over the blank disk: the upper file system as the stored guest has it mounted. */
export const UPPER_FILE = "upper.qcow2";
export const MANIFEST_FILE = "manifest.json";

/** All that shapes a stored VM, as it is written down: see `TemplateInputs`. */
export const templateInputs = z.object({
  cpus: z.int(),
  memoryMiB: z.int(),
  volumeSlots: z.int().default(0),
  network: z.string().default(""),
  assets: z.string(),
  vmm: z.string(),
  version: z.string(),
  fingerprint: z.string(),
  accelerator: z.string(),
  cpuModel: z.string(),
  processor: z.string(),
});

export const manifest = z.object({
  version: z.literal(1),
  key: z.string(),
  inputs: templateInputs,
  createdAt: z.iso.datetime(),
  buildMs: z.number(),
  state: z.object({ bytes: z.int(), sha256: z.string() }),
  /** Hashing all of memory would cost more than loading it; its size is checked, its content is kept by read-only mounts. */
  memory: z.object({ bytes: z.int() }),
  upper: z.object({ bytes: z.int(), sha256: z.string() }),
});
export type Manifest = z.output<typeof manifest>;

/** Reads a template's manifest; `undefined` if there is no such template. @throws `internal` if it is damaged */
export async function readManifest(directory: string): Promise<Manifest | undefined> {
  let text: string;
  try {
    text = await readFile(join(directory, MANIFEST_FILE), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const parsed = manifest.safeParse(parse(text));
  if (!parsed.success) throw damaged(directory, "its manifest cannot be read");
  return parsed.data;
}

/** @throws `internal` naming what differs, if the folder is not what the manifest says */
export async function verifyFiles(directory: string, expected: Manifest): Promise<void> {
  const [state, upper, memory] = await Promise.all([
    readFile(join(directory, STATE_FILE)).catch(() => undefined),
    readFile(join(directory, UPPER_FILE)).catch(() => undefined),
    stat(join(directory, MEMORY_FILE)).catch(() => undefined),
  ]);
  if (state === undefined || upper === undefined || memory === undefined)
    throw damaged(directory, "a file is missing");
  if (memory.size !== expected.memory.bytes) {
    throw damaged(directory, `its memory has ${memory.size} bytes, ${expected.memory.bytes} were stored`);
  }
  if (sha256(state) !== expected.state.sha256) throw damaged(directory, "its device state has changed");
  if (sha256(upper) !== expected.upper.sha256) throw damaged(directory, "its fresh disk has changed");
}

export function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function damaged(directory: string, how: string): SandboxError {
  const key = directory.slice(directory.lastIndexOf("/") + 1);
  return new SandboxError("internal", `template ${key} is damaged: ${how}`, {
    hint: `It is built again when next needed; to do so now: msb template rm ${key.slice(0, 12)}`,
  });
}

/** Where a template's memory and device state are. */
export function templateFiles({ directory }: { directory: string }): { memory: string; state: string } {
  return { memory: join(directory, MEMORY_FILE), state: join(directory, STATE_FILE) };
}
