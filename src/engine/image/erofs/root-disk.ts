/**
 * An image as a disk: one folder with all that a VM may see of it, and nothing else, so that one read-only bind mount
 * hands it over.
 *
 *     root.vmdk   joins the files below into one device
 *     meta.erofs  the file system's metadata, pointing into the blobs
 *     blob-NNN    the layers' contents; hard links, so they cost nothing and outlive the layer store
 *     disk.json   the sizes that these files must have
 *
 * Files are 0444 and the folder 0755: a jailed VMM runs under another user and must be able to read them.
 */

import { chmod, link, lstat, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { SandboxError } from "../../../contract/errors.ts";
import { fromBytes } from "../../../tar/index.ts";
import type { DiskDescriptorWriter, FlatExtent } from "../../disk/index.ts";
import type { Digest } from "../digest.ts";
import { writeDurably } from "../durable.ts";
import type { LayerFacts } from "../layer/layer-index.ts";
import type { ImageLimits } from "../limits.ts";
import { mergeLayer } from "../tree/merge-layer.ts";
import { TreeBuilder } from "../tree/tree.ts";
import { buildErofs } from "./erofs.ts";

export interface RootDisk {
  /** The folder, to be bind-mounted read-only. */
  directory: string;
  /** Name of the descriptor in it: the file that the VMM opens. */
  descriptor: string;
  /** Size of the joined device in bytes. */
  sizeBytes: number;
}

const DESCRIPTOR = "root.vmdk";
const METADATA = "meta.erofs";
const MANIFEST = "disk.json";

const manifestSchema = z.object({
  sizeBytes: z.int(),
  files: z.array(z.object({ file: z.string(), sizeBytes: z.int() })),
});

export interface BuildOptions {
  /** Lowest first. */
  layers: readonly LayerFacts[];
  /** Directories that must be there: the image's volumes. */
  directories: readonly string[];
  /** A folder that does not exist yet. Removed by the caller on failure. */
  directory: string;
  indexPath: (layer: Digest) => string;
  blobPath: (layer: Digest) => string;
  describe: DiskDescriptorWriter;
  limits: ImageLimits;
  /** Hears of bytes before they are written, and throws if there is no room for them. */
  charge: (bytes: number) => void;
}

/** Makes the folder. Errors: `invalid_argument` for layers that do not fit together, `internal`, of the file system. */
export async function buildRootDisk(options: BuildOptions): Promise<void> {
  const { layers, directory } = options;
  const tree = new TreeBuilder(options.limits.maxEntries);
  for (const { digest } of layers) await mergeLayer(tree, digest, options.indexPath(digest));
  for (const path of options.directories) tree.ensureDirectory(fromBytes(Buffer.from(path)));
  const metadata = buildErofs(tree.root, {
    blobBytes: layers.map(({ blobBytes }) => blobBytes),
    maxMetadataBytes: options.limits.maxMetadataBytes,
  });

  options.charge(metadata.length);
  await mkdir(directory);
  const extents: FlatExtent[] = [{ file: METADATA, sizeBytes: metadata.length }];
  for (const [i, { digest, blobBytes }] of layers.entries()) {
    if (blobBytes === 0) continue; // a layer without contents has no place on the device
    const file = `blob-${String(i).padStart(3, "0")}`;
    await link(options.blobPath(digest), join(directory, file));
    extents.push({ file, sizeBytes: blobBytes });
  }
  await writeDurably(join(directory, METADATA), metadata, 0o444);
  const descriptor = options.describe(extents);
  await writeDurably(join(directory, DESCRIPTOR), descriptor, 0o444);
  const files = [...extents, { file: DESCRIPTOR, sizeBytes: Buffer.byteLength(descriptor) }];
  const sizeBytes = extents.reduce((sum, extent) => sum + extent.sizeBytes, 0);
  await writeFile(join(directory, MANIFEST), JSON.stringify({ sizeBytes, files }), {
    mode: 0o444,
    flush: true,
  });
  await chmod(directory, 0o755); // whatever the umask
  for (const { file } of [...files, { file: MANIFEST }]) await chmod(join(directory, file), 0o444);
}

/**
 * The root disk in `directory`, if all of its files are there and have their sizes; undefined if there is no
 * such folder.
 *
 * Errors: `internal` for a damaged one.
 */
export async function findRootDisk(directory: string, image: Digest): Promise<RootDisk | undefined> {
  let text: string;
  try {
    text = await readFile(join(directory, MANIFEST), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    const exists = await lstat(directory).catch(() => undefined);
    if (exists === undefined) return undefined;
    throw damaged(image, directory, `${MANIFEST} is missing`);
  }
  const parsed = manifestSchema.safeParse(parseJson(text));
  if (!parsed.success) throw damaged(image, directory, `${MANIFEST} is not readable`);
  const { sizeBytes, files } = parsed.data;
  await Promise.all(
    files.map(async ({ file, sizeBytes: expected }) => {
      const found = await lstat(join(directory, file)).catch(() => undefined);
      if (found === undefined) throw damaged(image, directory, `${file} is missing`);
      if (!found.isFile() || found.size !== expected) {
        throw damaged(image, directory, `${file} has ${found.size} bytes instead of ${expected}`);
      }
    }),
  );
  return { directory, descriptor: DESCRIPTOR, sizeBytes };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function damaged(image: Digest, directory: string, reason: string): SandboxError {
  return new SandboxError("internal", `the root disk of image ${image} is damaged: ${reason}`, {
    hint: `Delete ${directory}; it is made anew from the image's layers. If that fails, import or pull the image again.`,
  });
}
