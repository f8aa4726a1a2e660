import type {
  ImageDetail,
  ImageHistoryEntry,
  ImageInfo,
  ImageUsage,
  PruneReport,
  PruneRequest,
} from "../contract/index.ts";
import { sharedConnection } from "./connection.ts";
import { build } from "./image-build.ts";
import * as transfer from "./image-transfer.ts";
import { type CallOptions, QUICK_MS, SLOW_MS } from "./options.ts";

/** Images: the root file systems that sandboxes start with. A name is a reference, or a digest of an image that is here. */
export const Image = {
  pull: transfer.pull,
  push: transfer.push,
  import: transfer.import,
  load: transfer.load,
  save: transfer.save,
  export: transfer.export,
  build,

  /** By name. */
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
   * All that is known of an image.
   *
   * @throws SandboxError `not_found`
   */
  async inspect(name: string, options: CallOptions = {}): Promise<ImageDetail> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    return connection.json<ImageDetail>({
      method: "GET",
      path: "/v1/images/inspect",
      query: { name },
      signal,
      deadlineMs,
      purpose: `inspect image ${name}`,
    });
  },

  /** The steps that made an image, oldest first. */
  async history(name: string, options: CallOptions = {}): Promise<ImageHistoryEntry[]> {
    return (await Image.inspect(name, options)).history;
  },

  /** Gives an image another name; the image that had it loses it. */
  async tag(source: string, target: string, options: CallOptions = {}): Promise<ImageInfo> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    return connection.json<ImageInfo>({
      method: "POST",
      path: "/v1/images/tag",
      body: { source, target },
      signal,
      deadlineMs,
      purpose: `tag image ${source}`,
    });
  },

  /**
   * Takes a name away, and with its last name the image.
   *
   * @throws SandboxError `invalid_state` while sandboxes stand on it; `details.sandboxes` names them
   */
  async remove(name: string, options: CallOptions = {}): Promise<void> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    await connection.json<void>({
      method: "DELETE",
      path: "/v1/images",
      query: { name },
      signal,
      deadlineMs,
      purpose: `remove image ${name}`,
    });
  },

  /** Frees what nothing refers to. Deadline: 15 minutes. */
  async prune(options: PruneRequest & CallOptions = {}): Promise<PruneReport> {
    const { connection = sharedConnection(), signal, deadlineMs = SLOW_MS, ...body } = options;
    return connection.json<PruneReport>({
      method: "POST",
      path: "/v1/images/prune",
      body,
      signal,
      deadlineMs,
      purpose: "prune images",
    });
  },

  /** Where the space of the image store went. */
  async usage(options: CallOptions = {}): Promise<ImageUsage> {
    const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
    return connection.json<ImageUsage>({
      method: "GET",
      path: "/v1/images/usage",
      signal,
      deadlineMs,
      purpose: "measure the image store",
    });
  },
};
