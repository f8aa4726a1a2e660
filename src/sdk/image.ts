import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import type { Readable } from "node:stream";
import type { ImageInfo } from "../contract/index.ts";
import { sharedConnection } from "./connection.ts";
import { type CallOptions, QUICK_MS, type SlowCallOptions } from "./options.ts";

export interface ImageImportOptions extends SlowCallOptions {
  /** OCI image config (env, user, entrypoint, …), at most 64 KiB of JSON. Default: none. */
  config?: unknown;
}

/** Images: the root file systems that sandboxes start with. */
export const Image = {
  async list(options: CallOptions = {}): Promise<ImageInfo[]> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    const { images } = await connection.json<{ images: ImageInfo[] }>({
      method: "GET",
      path: "/v1/images",
      signal,
      deadlineMs,
      purpose: "list images",
    });
    return images;
  },

  /**
   * Makes an image of a root file system tar: plain, gzip or zstd. Deadline: none, it depends on the tar.
   *
   * @param tar path of the file, or a stream
   */
  async import(name: string, tar: string | Readable, options: ImageImportOptions = {}): Promise<ImageInfo> {
    const { connection = sharedConnection(), signal, deadlineMs, onProgress, config } = options;
    return connection.json<ImageInfo>({
      method: "POST",
      path: "/v1/images/import",
      query: { name },
      upload: typeof tar === "string" ? await openFile(tar) : tar,
      headers: {
        "content-type": "application/x-tar",
        ...(config === undefined
          ? {}
          : { "x-msb-image-config": Buffer.from(JSON.stringify(config)).toString("base64") }),
      },
      signal,
      deadlineMs,
      onProgress,
      purpose: `import image ${name}`,
    });
  },

  async remove(name: string, options: CallOptions = {}): Promise<void> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    const purpose = `remove image ${name}`;
    await connection.json<void>({
      method: "DELETE",
      path: "/v1/images",
      query: { name },
      signal,
      deadlineMs,
      purpose,
    });
  },
};

/** Opens first, so that a missing file is the caller's `ENOENT` and not a broken request. */
async function openFile(path: string): Promise<Readable> {
  const file = await open(path);
  return createReadStream(path, { fd: file, highWaterMark: 256 * 1024 });
}
