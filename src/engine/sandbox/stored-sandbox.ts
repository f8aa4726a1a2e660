import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { preparation, SandboxError } from "../../contract/index.ts";
import { type SandboxRecord, sandboxRecord } from "./record.ts";

/**
 * What a stored state says of its sandbox beside files: its record, its processes, and what the folders of the host that it had mounted
 * are known by in its guest. A state may come from elsewhere: all of it is checked when it is read.
 */

const PROCESSES_FILE = "processes.json";
const FOLDER_DIRECTORY = "folders";
/** Of the journals of all folders. */
const MAX_JOURNAL_BYTES = 2 * 1024 * 1024;

const storedSandbox = z.object({
  // What stands for a process and for rights on the host that it was stored on is nobody's elsewhere, and a stranger's to choose.
  sandbox: sandboxRecord.omit({
    machine: true,
    uid: true,
    ports: true,
    suspendedIn: true,
    wakingOn: true,
  }),
  processes: z.string().optional(),
  journals: z.record(z.string().regex(/^\d+\.nodes$/), z.base64()),
  /** Of a state that is used as an image. */
  prepared: preparation.optional(),
});
export type StoredSandbox = z.output<typeof storedSandbox>;

/** @throws `unsupported` if the guest knows so many files of the host that they do not fit */
export async function describeSandbox(directory: string, record: SandboxRecord): Promise<StoredSandbox> {
  const { machine: _, uid: __, ports: ___, timings: ____, ...sandbox } = record;
  const processes = await readFile(join(directory, PROCESSES_FILE), "utf8").catch(() => undefined);
  const folders = join(directory, FOLDER_DIRECTORY);
  const journals: Record<string, string> = {};
  let bytes = 0;
  for (const name of await readdir(folders).catch(() => [])) {
    const journal = await readFile(join(folders, name));
    bytes += journal.length;
    journals[name] = journal.toString("base64");
  }
  if (bytes > MAX_JOURNAL_BYTES) {
    throw new SandboxError(
      "unsupported",
      `sandbox '${record.name}' knows too many files of the host to be stored`,
      { hint: "Unmount its folders of the host, or copy what it needs into it." },
    );
  }
  return { sandbox: { ...sandbox, timings: [] }, processes, journals };
}

/** @throws `internal` if it is none */
export function readStoredSandbox(record: unknown): StoredSandbox {
  const parsed = storedSandbox.safeParse(record);
  if (parsed.success) return parsed.data;
  throw new SandboxError("internal", "what the stored state says of its sandbox cannot be read", {
    details: { problem: parsed.error.issues[0]?.message },
  });
}

/** Digest of the image that a stored sandbox stands on; empty if it cannot be told. */
export function imageOf(record: unknown): string {
  const parsed = z.object({ sandbox: z.object({ imageDigest: z.string() }) }).safeParse(record);
  return parsed.data?.sandbox.imageDigest ?? "";
}

/** Puts what is kept beside the record into the folder of a sandbox that begins with it. */
export async function settleStored(directory: string, { processes, journals }: StoredSandbox): Promise<void> {
  if (processes !== undefined) await writeFile(join(directory, PROCESSES_FILE), processes, { mode: 0o600 });
  const folders = join(directory, FOLDER_DIRECTORY);
  await mkdir(folders, { recursive: true, mode: 0o700 });
  for (const [name, journal] of Object.entries(journals))
    await writeFile(join(folders, name), Buffer.from(journal, "base64"), { mode: 0o600 });
}
