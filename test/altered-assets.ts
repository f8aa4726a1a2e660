import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The boot assets of this checkout with some files replaced, for `MSB_ASSETS`. */
export interface AlteredAssets extends AsyncDisposable {
  directory: string;
}

/**
 * @param replace new contents by file name
 * @param honest whether the manifest tells the truth about them
 */
export async function alteredAssets(
  replace: Record<string, (original: Buffer) => Buffer>,
  honest: boolean,
): Promise<AlteredAssets> {
  const source = fileURLToPath(new URL(`../build/guest-linux-${process.arch}/`, import.meta.url));
  const directory = await mkdtemp(join(tmpdir(), "msb-assets-"));
  const manifest = JSON.parse(await readFile(join(source, "manifest.json"), "utf8"));
  for (const name of await readdir(source)) {
    if (name === "manifest.json") continue;
    const change = replace[name];
    if (change === undefined) {
      await symlink(join(source, name), join(directory, name));
      continue;
    }
    const bytes = change(await readFile(join(source, name)));
    await writeFile(join(directory, name), bytes);
    if (honest) manifest.files[name] = { sha256: sha256(bytes), size: bytes.length };
  }
  manifest.hash = sha256(Buffer.from(directory));
  await writeFile(join(directory, "manifest.json"), JSON.stringify(manifest));
  return { directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
}

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
