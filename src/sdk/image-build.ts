import type { Readable } from "node:stream";
import type { BuildRequestInput, ImageInfo } from "../contract/index.ts";
import { sharedConnection } from "./connection.ts";
import type { SlowCallOptions } from "./options.ts";

export interface ImageBuildOptions extends Omit<BuildRequestInput, "dockerfile">, SlowCallOptions {
  /** The folder whose files `COPY` and `ADD` take, or a tar of one as a stream. */
  context: string | Readable;
  /**
   * Path of the Dockerfile, relative to the working directory and inside the context or not; or its contents. Default: `Dockerfile` in
   * the context. With a tar as the context: its path in there.
   */
  dockerfile?: string | Uint8Array | undefined;
}

/**
 * Builds an image of a Dockerfile, every step in a microVM of its own. What `.dockerignore` names stays here.
 * Deadline: none.
 *
 * @example
 * await Image.build({ context: ".", tags: ["my/app"], onProgress: ({ output = "" }) => process.stdout.write(output) });
 * @throws SandboxError `invalid_argument` with the Dockerfile's line, `unsupported`, `not_found`, …
 */
export async function build(options: ImageBuildOptions): Promise<ImageInfo> {
  const {
    connection = sharedConnection(),
    signal,
    deadlineMs,
    onProgress,
    context,
    dockerfile,
    ...request
  } = options;
  // Loaded only now: most programs never build.
  const { buildHeader, packContext, packDockerfile } = await import("./build-context.ts");
  const { tar, dockerfile: path } =
    typeof context === "string"
      ? await packContext(context, dockerfile)
      : typeof dockerfile === "object"
        ? packDockerfile(context, dockerfile)
        : { tar: context, dockerfile };
  try {
    return await connection.json<ImageInfo>({
      method: "POST",
      path: "/v1/images/build",
      upload: tar,
      headers: {
        "content-type": "application/x-tar",
        ...buildHeader({ ...request, dockerfile: path }),
      },
      signal,
      deadlineMs,
      onProgress,
      purpose: "build an image",
    });
  } finally {
    tar.destroy();
  }
}
