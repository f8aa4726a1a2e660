import type { ImageInfo } from "../contract/index.ts";
import { SandboxError } from "../contract/index.ts";
import type { BuildCache, Builder } from "./build/index.ts";
import type { ByteStream, Images } from "./engine.ts";
import {
  type CredentialStore,
  familiarName,
  type ImagePolicy,
  type ImageStore,
  importRootfs,
  isDigest,
  loadImages,
  parseOciConfig,
  parseReference,
  parseRegistry,
  pullImage,
  pushImage,
  type RegistryClient,
  type StoredImage,
  saveImages,
  treeTar,
} from "./image/index.ts";
import { imageDetail, imageInfo } from "./image-info.ts";
import type { SandboxManager } from "./sandbox/index.ts";

/** What images come from and go to. */
export interface ImageSources {
  store: ImageStore;
  client: RegistryClient;
  credentials: CredentialStore;
  policy: ImagePolicy;
  builder: Builder;
  buildCache: BuildCache;
}

/** The image store as the server sees it. */
export function imagesApi(sources: ImageSources, sandboxes: SandboxManager): Images {
  const { store, client, credentials, builder, buildCache } = sources;
  const usersOf = ({ digest }: StoredImage) =>
    sandboxes.list().flatMap(({ imageDigest, name }) => (imageDigest === digest ? [name] : []));
  const sweep = async () => store.sweep({ inUse: await sandboxes.imagesInUse() });

  return {
    async list() {
      return (await store.list()).flatMap((image) =>
        (image.names.length === 0 ? [""] : image.names).map((name) => imageInfo(image, name)),
      );
    },

    async inspect(name) {
      const image = await store.get(name);
      return imageDetail(image, usersOf(image));
    },

    async pull(request, { signal, onProgress } = {}) {
      const image = await pullImage(sources, { ...request, signal, onProgress }).catch(async (error) => {
        // Of an image that is refused nothing stays; what was fetched before a connection broke is worth keeping.
        if (SandboxError.from(error).code === "invalid_argument") await sweep();
        throw error;
      });
      return namedInfo(image, request.reference);
    },

    async build(context, request, operation) {
      const image = await builder.build(context, request, operation);
      const [name] = request.tags;
      return name === undefined ? imageInfo(image, "") : namedInfo(image, name);
    },

    async push({ name, reference }, { signal, onProgress } = {}) {
      return pushImage(sources, { name, reference, signal, onProgress });
    },

    async login({ registry, username, password }, { signal } = {}) {
      const name = parseRegistry(registry);
      await client.tryCredentials(name, { username, password }, signal);
      await credentials.keep(name, { username, password });
      client.forgetCredentials(name);
    },

    async logout(registry) {
      const name = parseRegistry(registry);
      await credentials.forget(name);
      client.forgetCredentials(name);
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

    async prune({ all = false, buildCache: alsoCache = false } = {}) {
      const untagged: string[] = [];
      for (const image of all ? await store.list() : []) {
        if (usersOf(image).length > 0 || image.names.length === 0) continue;
        await store.remove(image.digest);
        untagged.push(...image.names);
      }
      const cacheEntries = alsoCache ? await buildCache.clear() : 0;
      const { images, layers, freedBytes } = await sweep();
      return { images, layers, cacheEntries, freedBytes, untagged };
    },

    async usage() {
      const { images, layers, other, totalBytes, quotaBytes } = await store.usage({
        inUse: await sandboxes.imagesInUse(),
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

/** The image under the name that it was just given; with a digest in it, a tag says nothing. */
function namedInfo(image: StoredImage, name: string): ImageInfo {
  const reference = parseReference(name);
  return imageInfo(
    image,
    familiarName(reference.digest === undefined ? reference : { ...reference, tag: undefined }),
  );
}

function mib(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MiB`;
}
