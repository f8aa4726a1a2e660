import { type ImageInfo, SandboxError } from "../contract/index.ts";
import type { Images } from "./engine.ts";
import {
  familiarName,
  type ImageStore,
  importRootfs,
  parseOciConfig,
  parseReference,
  type StoredImage,
} from "./image/index.ts";
import type { SandboxManager } from "./sandbox/index.ts";

/** The image store as the server sees it. */
export function imagesApi(store: ImageStore, sandboxes: SandboxManager): Images {
  return {
    async list() {
      return (await store.list()).flatMap((image) => image.names.map((name) => toInfo(image, name)));
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
      return toInfo(image, familiarName(parseReference(name)));
    },

    ...NOT_YET,

    async remove(name) {
      const image = await store.get(name);
      const users = sandboxes.list().filter(({ imageDigest }) => imageDigest === image.digest);
      if (users.length > 0) {
        throw new SandboxError(
          "invalid_state",
          `image '${name}' is in use by ${users.map((u) => u.name).join(", ")}`,
          {
            hint: "Remove these sandboxes first.",
            details: { sandboxes: users.map((u) => u.name) },
          },
        );
      }
      await store.remove(name);
      await store.sweep({ inUse: sandboxes.imagesInUse() });
    },
  };
}

const notYet = async (): Promise<never> => {
  throw new SandboxError("unsupported", "this comes with the next commits");
};
const NOT_YET = {
  inspect: notYet,
  pull: notYet,
  push: notYet,
  tag: notYet,
  load: notYet,
  save: notYet,
  export: notYet,
  build: notYet,
  prune: notYet,
  usage: notYet,
  login: notYet,
  logout: notYet,
};

function toInfo(image: StoredImage, name: string): ImageInfo {
  return {
    name,
    digest: image.digest,
    sizeBytes: image.sizeBytes,
    createdAt: new Date(image.namedAtMs).toISOString(),
  };
}

function mib(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MiB`;
}
