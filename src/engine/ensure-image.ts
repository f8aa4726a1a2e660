import { type ImageInfo, type PullRequest, SandboxError } from "../contract/index.ts";
import type { OperationContext } from "./engine.ts";
import {
  hostPlatform,
  type ImageStore,
  isDigest,
  LOCAL_REGISTRY,
  parseReference,
  type StoredImage,
} from "./image/index.ts";

export interface EnsureOptions {
  /** `missing`: fetch what is not here. `always`: ask the registry each time. `never`: only what is here. */
  pull: "missing" | "always" | "never";
  /** `linux/amd64` and the like. Default: this host's. */
  platform?: string | undefined;
}

/** Gives the image of a name, fetched from its registry if need be. */
export type EnsureImage = (
  name: string,
  options: EnsureOptions,
  operation: OperationContext,
) => Promise<StoredImage>;

/**
 * @param pull fetches an image
 * @throws what the registry said; `not_found` for an image that no registry has, since it was made here;
 *   `unsupported` for one of another platform than this host's
 */
export function imageEnsurer(
  store: ImageStore,
  pull: (request: PullRequest, operation: OperationContext) => Promise<ImageInfo>,
): EnsureImage {
  return async (name, options, operation) => {
    const platform = options.platform ?? hostPlatform();
    const canBePulled = !isDigest(name) && parseReference(name).registry !== LOCAL_REGISTRY;
    const find = async () => {
      const image = await store.get(name);
      // Another platform's under this name: as if it were not here.
      return canBePulled && !platform.startsWith(platformOf(image)) && options.pull !== "never"
        ? undefined
        : image;
    };
    let image: StoredImage | undefined;
    if (!canBePulled || options.pull !== "always") {
      image = await find().catch((error) => {
        const mayPull = canBePulled && options.pull === "missing";
        if (mayPull && error instanceof SandboxError && error.code === "not_found") return undefined;
        throw error;
      });
    }
    if (image === undefined) {
      await pull({ reference: name, platform }, operation);
      image = await store.get(name);
    }
    assertRunnable(image, name);
    return image;
  };
}

function platformOf({ oci }: StoredImage): string {
  return `${oci.os}/${oci.architecture}`;
}

function assertRunnable(image: StoredImage, name: string): void {
  if (platformOf(image) === hostPlatform()) return;
  throw new SandboxError(
    "unsupported",
    `image ${name} is for ${platformOf(image)}, sandboxes on this host run ${hostPlatform()}`,
    { hint: `Pull it for this platform: msb pull --platform ${hostPlatform()} ${name}` },
  );
}
