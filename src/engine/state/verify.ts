import { stat } from "node:fs/promises";
import { join } from "node:path";
import { fileDigest } from "./digest.ts";
import { damagedState, type StateManifest } from "./manifest.ts";
import { contentMark } from "./sums.ts";

/** A state that is there and has a whole manifest. */
export interface StoredState {
  id: string;
  directory: string;
  manifest: StateManifest;
}

/**
 * Every file against the manifest; of a state that is used once, which has no sums, only the sizes.
 * @throws `internal` naming the file, `cancelled`
 */
export async function verifyState(
  state: StoredState,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<void> {
  await verifySizes(state);
  for (const { path, sha256 } of state.manifest.files) {
    if (sha256 === undefined) continue;
    if ((await fileDigest(join(state.directory, path), options)) !== sha256) {
      throw damagedState(titleOf(state), `${path} has changed`);
    }
  }
}

async function verifySizes({ directory, manifest, ...state }: StoredState): Promise<void> {
  for (const { path, bytes } of manifest.files) {
    const title = titleOf({ ...state, manifest });
    const found = await stat(join(directory, path)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") throw damagedState(title, `${path} is missing`);
      throw error;
    });
    if (!found.isFile()) throw damagedState(title, `${path} is no file`);
    if (found.size !== bytes)
      throw damagedState(title, `${path} has ${found.size} bytes, ${bytes} were stored`);
  }
}

/** Changes when any of its files is written to or replaced. A file that is missing is one that has changed. */
export async function contentMarks({ directory, manifest }: StoredState): Promise<string> {
  const marks = manifest.files.map(({ path }) =>
    stat(join(directory, path), { bigint: true }).then(contentMark, () => "missing"),
  );
  return (await Promise.all(marks)).join(" ");
}

/** What users know it by. */
export function titleOf({ id, manifest }: Pick<StoredState, "id" | "manifest">): string {
  return manifest.name ?? id;
}
