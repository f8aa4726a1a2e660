/**
 * A state's manifest: what the state is, what must match to load it, and the sum of every file. It may come out of an archive, so it
 * is bounded (MAX_MANIFEST_BYTES, MAX_FILES, sizes) and checked whole: each byte of it stands for something, and carries a sum itself.
 */

import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { SandboxError, SNAPSHOT_KINDS, snapshotName } from "../../contract/index.ts";
import { PAGE_BYTES } from "./delta.ts";
import {
  BASE_FILE,
  DISKS,
  deltaName,
  isStateFile,
  MANIFEST_FILE,
  MAX_DISK_LEVELS,
  MAX_FILES,
  MAX_LEVELS,
  STATE_FILE,
  STATE_ID,
} from "./layout.ts";
import { machineIdentity } from "./machine-identity.ts";

/** The record of a sandbox is a few KiB; its file of environment and commands may be larger. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
const MAX_MEMORY_BYTES = 2 ** 40;
/** With its holes, which cost next to nothing: 4 TiB. */
const MAX_FILE_BYTES = 2 ** 42;

const bytes = z.int().min(0).max(MAX_FILE_BYTES);
const id = z.string().regex(STATE_ID);

const file = z.object({
  path: z.string().max(64).refine(isStateFile),
  bytes,
  /** See digest.ts. Left out of states that are used once. */
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});
export type ManifestFile = z.output<typeof file>;

const schema = z
  .object({
    version: z.literal(1),
    id,
    /** None: a state that a fork or a suspended sandbox uses. */
    name: snapshotName.optional(),
    /** `running`: with memory; `stopped`: disks only. */
    kind: z.enum(SNAPSHOT_KINDS),
    createdAt: z.iso.datetime(),
    /** The state that its sandbox was loaded from: information only, it may be gone. */
    parent: id.optional(),
    /** How many times this line of sandboxes has been loaded from a state of its own. */
    generation: z
      .int()
      .min(0)
      .max(2 ** 32),
    machine: machineIdentity,
    /** What the sandbox was: plain JSON, for whoever stored it. */
    record: z.unknown(),
    /** Bytes of the memory, and pages of each level of its chain. */
    memory: z
      .object({
        bytes: z.int().min(PAGE_BYTES).max(MAX_MEMORY_BYTES).multipleOf(PAGE_BYTES),
        levels: z.array(z.int().min(0)).max(MAX_LEVELS),
      })
      .optional(),
    /** Stored to last: every file is on disk and has its sum. */
    durable: z.boolean(),
    files: z.array(file).max(MAX_FILES),
    /** Space on disk of what is the state's own. */
    bytes: z.object({ memory: bytes, disks: bytes, volumes: bytes }),
  })
  .refine(({ kind, memory }) => (kind === "running") === (memory !== undefined), "kind and memory differ")
  .refine(
    ({ durable, files }) => !durable || files.every(({ sha256 }) => sha256 !== undefined),
    "a sum is missing",
  )
  .refine(hasItsFiles, "its list of files is not one of a state");
export type StateManifest = z.output<typeof schema>;

interface Contents {
  memory?: { bytes: number; levels: number[] } | undefined;
  files: ManifestFile[];
}

/** Exactly the files of its memory, and of each disk all levels from the lowest on. */
function hasItsFiles({ memory, files }: Contents): boolean {
  const sizes = new Map(files.map((entry) => [entry.path, entry.bytes]));
  if (sizes.size !== files.length) return false;
  const ofMemory = files.filter(({ path }) => !/^(?:disks|volumes)\//.test(path)).length;
  if (ofMemory !== (memory === undefined ? 0 : 2 + 2 * memory.levels.length)) return false;
  if (memory !== undefined) {
    if (!sizes.has(STATE_FILE) || sizes.get(BASE_FILE) !== memory.bytes) return false;
    const whole = memory.levels.every((pages, level) => {
      const { runs, pages: pagesFile } = deltaName(level);
      return sizes.has(runs) && sizes.get(pagesFile) === pages * PAGE_BYTES;
    });
    if (!whole) return false;
  }
  return [...diskLevels(files)].every(
    ([role, levels]) =>
      levels <= MAX_DISK_LEVELS &&
      Array.from({ length: levels }, (_, n) => `${DISKS}/${role}/${n}`).every((path) => sizes.has(path)),
  );
}

/** How many files each disk has. */
export function diskLevels(files: readonly { path: string }[]): Map<string, number> {
  const levels = new Map<string, number>();
  for (const { path } of files) {
    const [folder, role] = path.split("/");
    if (folder === DISKS) levels.set(role!, (levels.get(role!) ?? 0) + 1);
  }
  return levels;
}

/** The text of a manifest: always the same for the same one. @throws ZodError if it is none */
export function encodeManifest(value: StateManifest): string {
  return textOf(schema.parse(value));
}

/** @param manifest as the schema has given it */
function textOf(manifest: StateManifest): string {
  const sha256 = createHash("sha256").update(JSON.stringify(manifest)).digest("hex");
  return `${JSON.stringify({ sha256, manifest }, null, 2)}\n`;
}

/** @returns why `text` is none, or the manifest */
export function decodeManifest(text: string): StateManifest | { problem: string } {
  try {
    const { manifest } = JSON.parse(text) as { manifest: unknown };
    const version = (manifest as { version?: unknown } | null)?.version;
    if (typeof version === "number" && version !== 1)
      return { problem: `it was stored by another version of Microsandbox (format ${version})` };
    const parsed = schema.parse(manifest);
    // Whatever was changed, if only a blank, the text is no longer what is written for this manifest.
    return textOf(parsed) === text ? parsed : { problem: "its manifest has changed" };
  } catch {
    // JSON, schema, or so deeply nested that the stack ends.
    return { problem: "its manifest cannot be read" };
  }
}

/** The manifest in a state's folder; undefined if there is none. @throws `internal` if it is damaged */
export async function readManifest(
  directory: string,
  expectedId: string,
): Promise<StateManifest | undefined> {
  const path = join(directory, MANIFEST_FILE);
  let text: string;
  try {
    if ((await stat(path)).size > MAX_MANIFEST_BYTES)
      throw damagedState(expectedId, `${MANIFEST_FILE} is too long`);
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const decoded = decodeManifest(text);
  if ("problem" in decoded) throw damagedState(expectedId, `${MANIFEST_FILE}: ${decoded.problem}`);
  if (decoded.id !== expectedId)
    throw damagedState(expectedId, `${MANIFEST_FILE} is that of state ${decoded.id}`);
  return decoded;
}

export function damagedState(name: string, how: string): SandboxError {
  return new SandboxError("internal", `stored state '${name}' is damaged: ${how}`, {
    hint: `It cannot be used any more. To remove it: msb snapshot rm ${name}`,
  });
}
