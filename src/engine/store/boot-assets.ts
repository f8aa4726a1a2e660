import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { SandboxError } from "../../contract/index.ts";
import { exists } from "../exists.ts";

/** The kernel, the initramfs with the agent, and the blank disk (guest/boot), as this home holds them. */
export interface BootAssets {
  /** Content hash; part of every template's key. */
  hash: string;
  directory: string;
  kernel: string;
  initramfs: string;
  /** The blank ext4 below every sandbox's writable layer. */
  blank: string;
  /** Size that its file system was made for, bytes. */
  blankBytes: number;
}

const manifest = z.object({
  version: z.literal(1),
  arch: z.string(),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  blankDiskBytes: z.int(),
  files: z.record(z.string(), z.object({ sha256: z.string(), size: z.int() })),
});
type AssetManifest = z.output<typeof manifest>;

const MANIFEST = "manifest.json";
const KERNEL = "vmlinux";
const INITRAMFS = "initramfs.cpio";
const BLANK = "blank.ext4";
const HINT = "In a checkout ./quickstart builds the boot assets; else install microsandbox again.";

/**
 * Copies the assets that this installation brings into `assets/<hash>/` unless they are there: a later version then
 * finds the old ones as long as its sandboxes need them.
 * @throws `not_found` if the installation brings none, `internal` if a file is not what the manifest says
 */
export async function installBootAssets(
  assetsDirectory: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<BootAssets> {
  const source = await findSource(env);
  const described = await readManifest(source);
  const target = join(assetsDirectory, described.hash);
  if (!(await looksWhole(target, described))) {
    await verify(source, described);
    await copyBeside(source, target, described);
  }
  return {
    hash: described.hash,
    directory: target,
    kernel: KERNEL,
    initramfs: INITRAMFS,
    blank: BLANK,
    blankBytes: described.blankDiskBytes,
  };
}

/** Hashes the files again. @throws `internal`, naming the file that has changed */
export async function verifyBootAssets(assets: BootAssets): Promise<void> {
  await verify(assets.directory, await readManifest(assets.directory));
}

/** Removes what interrupted copies left. */
export async function sweepBootAssets(assetsDirectory: string): Promise<void> {
  for (const name of await readdir(assetsDirectory).catch(() => [])) {
    if (name.includes(".partial-")) await rm(join(assetsDirectory, name), { recursive: true, force: true });
  }
}

async function findSource(env: NodeJS.ProcessEnv): Promise<string> {
  const name = `guest-linux-${process.arch}`;
  const places = [env.MSB_ASSETS, checkoutBuild(name), platformPackage(`@microsandbox/${name}`)];
  for (const place of places) {
    if (place !== undefined && (await exists(join(place, MANIFEST)))) return place;
  }
  throw new SandboxError("not_found", `there are no boot assets (kernel and agent) for ${process.arch}`, {
    hint: HINT,
  });
}

/** `build/` of the checkout, seen from `dist/` and from `src/engine/store/`. */
function checkoutBuild(name: string): string {
  const here = fileURLToPath(new URL(".", import.meta.url));
  const root = here.replace(/\/(dist|src)\/.*$/, "/");
  return join(root, "build", name);
}

function platformPackage(name: string): string | undefined {
  try {
    return join(createRequire(import.meta.url).resolve(`${name}/${MANIFEST}`), "..");
  } catch {
    return undefined;
  }
}

async function readManifest(directory: string): Promise<AssetManifest> {
  const file = join(directory, MANIFEST);
  try {
    return manifest.parse(JSON.parse(await readFile(file, "utf8")));
  } catch (cause) {
    throw new SandboxError("internal", `the boot assets' manifest '${file}' cannot be read`, {
      hint: HINT,
      cause,
    });
  }
}

/** A cheap look; `verify` is the thorough one. */
async function looksWhole(directory: string, described: AssetManifest): Promise<boolean> {
  const sizes = await Promise.all(
    Object.keys(described.files).map((name) =>
      stat(join(directory, name)).then(
        (s) => s.size,
        () => -1,
      ),
    ),
  );
  const whole = Object.values(described.files).every((file, i) => file.size === sizes[i]);
  return whole && (await exists(join(directory, MANIFEST)));
}

async function verify(directory: string, described: AssetManifest): Promise<void> {
  for (const [name, file] of Object.entries(described.files)) {
    const path = join(directory, name);
    const hash = createHash("sha256");
    try {
      for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk);
    } catch (cause) {
      throw new SandboxError("internal", `the boot asset '${path}' cannot be read`, { hint: HINT, cause });
    }
    if (hash.digest("hex") !== file.sha256) {
      throw new SandboxError(
        "internal",
        `the boot asset '${path}' is corrupted: its checksum differs from the manifest`,
        {
          hint: `Remove '${directory}' and try again. ${HINT}`,
          details: { file: path },
        },
      );
    }
  }
}

async function copyBeside(source: string, target: string, described: AssetManifest): Promise<void> {
  const partial = `${target}.partial-${process.pid}`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true, mode: 0o755 });
  for (const name of [...Object.keys(described.files), MANIFEST]) {
    await copyFile(join(source, name), join(partial, name));
    // A jailed VMM of another uid maps and reads these, and nobody writes them.
    await chmod(join(partial, name), 0o444);
  }
  await rm(target, { recursive: true, force: true });
  await rename(partial, target).catch(async (error) => {
    await rm(partial, { recursive: true, force: true });
    if (!(await exists(join(target, MANIFEST)))) throw error;
  });
}
