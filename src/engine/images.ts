import type { ImageInfo } from "../contract/index.ts";
import { SandboxError } from "../contract/index.ts";
import type { ByteStream, Images } from "./engine.ts";
import {
  familiarName,
  type ImageStore,
  importRootfs,
  isDigest,
  loadImages,
  parseOciConfig,
  parseReference,
  type StoredImage,
  saveImages,
  treeTar,
} from "./image/index.ts";
import { imageDetail, imageInfo } from "./image-info.ts";
import type { SandboxManager } from "./sandbox/index.ts";

/** The image store as the server sees it. */
export function imagesApi(store: ImageStore, sandboxes: SandboxManager): Images {
  const usersOf = ({ digest }: StoredImage) =>
    sandboxes.list().flatMap(({ imageDigest, name }) => (imageDigest === digest ? [name] : []));
  const sweep = () => store.sweep({ inUse: sandboxes.imagesInUse() });

  return {
    ...NOT_YET,

    async list() {
      return (await store.list()).flatMap((image) =>
        (image.names.length === 0 ? [""] : image.names).map((name) => imageInfo(image, name)),
      );
    },

    async inspect(name) {
      const image = await store.get(name);
      return imageDetail(image, usersOf(image));
    },

    async tag(source, target) {
      return namedInfo(await store.tag(source, target), target);
    },

    async import(name, tar, { config, signal, onProgress } = {}) {
      const image = await importRootfs(store, {
        stream: tar,
        name,
        ...(config === undefined ? {} : { config: parseOciConfig(config) }),
        ...(signal === undefined ? {} : { signal }),
        onProgress: ({ phase, bytes }) =>
          onProgress?.({
            task: phase === "disk" ? `making the disk of ${name}` : `reading ${name} (${mib(bytes)})`,
          }),
      });
      return namedInfo(image, name);
    },

    async load(archive, { signal, onProgress } = {}) {
      const loaded = await loadImages(store, {
        source: archive,
        signal,
        onProgress: (bytes) => onProgress?.({ task: `loading the archive (${mib(bytes)})` }),
      });
      return loaded.map(({ image, name }) => imageInfo(image, name));
    },

    async save(names, { format = "oci" } = {}) {
      return saveImages(store, { names, format });
    },

    async export(name) {
      const tree = await store.openTree(name);
      return (async function* (): ByteStream {
        await using _tree = tree;
        yield* treeTar(tree);
      })();
    },

    async remove(name) {
      const image = await store.get(name);
      const isLastName = isDigest(name) || image.names.length <= 1;
      const users = usersOf(image);
      if (isLastName && users.length > 0) {
        throw new SandboxError("invalid_state", `image '${name}' is in use by ${users.join(", ")}`, {
          hint: "Remove these sandboxes first.",
          details: { sandboxes: users },
        });
      }
      await store.remove(name);
      await sweep();
    },

    async prune({ all = false } = {}) {
      const untagged: string[] = [];
      for (const image of all ? await store.list() : []) {
        if (usersOf(image).length > 0 || image.names.length === 0) continue;
        await store.remove(image.digest);
        untagged.push(...image.names);
      }
      const { images, layers, freedBytes } = await sweep();
      return { images, layers, cacheEntries: 0, freedBytes, untagged };
    },

    async usage() {
      const { images, layers, other, totalBytes, quotaBytes } = await store.usage({
        inUse: sandboxes.imagesInUse(),
      });
      return {
        images,
        layers,
        buildCache: { ...other, reclaimableBytes: other.bytes },
        totalBytes,
        ...(quotaBytes === undefined ? {} : { quotaBytes }),
      };
    },
  };
}

const notYet = async (): Promise<never> => {
  throw new SandboxError("unsupported", "this comes with the next commits");
};
const NOT_YET = {
  pull: notYet,
  push: notYet,
  build: notYet,
  login: notYet,
  logout: notYet,
};

/** The image under the name that it was just given. */
function namedInfo(image: StoredImage, name: string): ImageInfo {
  return imageInfo(image, familiarName(parseReference(name)));
}

function mib(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MiB`;
}
