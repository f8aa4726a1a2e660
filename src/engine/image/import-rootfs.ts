import { SandboxError } from "../../contract/errors.ts";
import type { ImageConfig } from "./config.ts";
import { sha256 } from "./digest.ts";
import { newOciImage } from "./oci-image.ts";
import { canonicalName, parseReference } from "./reference.ts";
import type { ImageStore, StoredImage } from "./store.ts";

export interface ImportProgress {
  /** `ingest`: the archive streams in. `disk`: the root disk is being made. */
  phase: "ingest" | "disk";
  /** Uncompressed bytes of the archive so far. */
  bytes: number;
  entries: number;
}

export interface ImportOptions {
  /** The root file system as a tar: plain, gzip or zstd. */
  stream: AsyncIterable<Uint8Array>;
  name: string;
  /** What is left out is empty. */
  config?: Partial<ImageConfig>;
  onProgress?: (progress: ImportProgress) => void;
  signal?: AbortSignal;
}

/**
 * Takes in a root file system as an image of one layer, makes its root disk, and gives it `name`. An image that had
 * the name before keeps all but the name. After an error the store is as it was (but for what a sweep frees).
 *
 * Errors: `invalid_argument` (name, archive), `unsupported` (compression), `cancelled`, `resource_exhausted`.
 */
export async function importRootfs(store: ImageStore, options: ImportOptions): Promise<StoredImage> {
  const name = canonicalName(parseReference(options.name));
  let progress: ImportProgress = { phase: "ingest", bytes: 0, entries: 0 };
  using layer = await store.ingestLayer({
    source: options.stream,
    what: options.name,
    signal: options.signal,
    onProgress: (bytes, entries) => {
      progress = { phase: "ingest", bytes, entries };
      options.onProgress?.(progress);
    },
  });
  if (layer.facts.entries === 0) {
    throw new SandboxError("invalid_argument", `the archive for ${options.name} is empty`, {
      hint: "Give a tar archive of a root file system.",
    });
  }
  const config = newOciImage([layer.facts.digest], options.config ?? {}, "imported from a root file system");
  using _image = store.hold(sha256(config));
  options.onProgress?.({ ...progress, phase: "disk" });
  return await store.addImage({ config, name });
}
