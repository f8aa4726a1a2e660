import type { Readable } from "node:stream";
import type { BuildRequestInput, ImageInfo } from "../contract/index.ts";
import { BUILD_REQUEST_HEADER } from "../contract/upload.ts";
import { sharedConnection } from "./connection.ts";
import { jsonHeader } from "./json-header.ts";
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
  const { tar, dockerfile: path } = await contextOf(context, dockerfile);
  try {
    return await connection.json<ImageInfo>({
      method: "POST",
      path: "/v1/images/build",
      upload: tar,
      headers: {
        "content-type": "application/x-tar",
        [BUILD_REQUEST_HEADER]: jsonHeader(
          { ...request, dockerfile: path },
          "what the build is asked (arguments, labels, tags)",
        ),
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

async function contextOf(
  context: string | Readable,
  dockerfile: string | Uint8Array | undefined,
): Promise<{ tar: Readable; dockerfile: string | undefined }> {
  if (typeof context === "string") {
    // Loaded only now: most programs never build.
    const { packContext } = await import("./build-context.ts");
    return packContext(context, dockerfile);
  }
  if (typeof dockerfile !== "object") return { tar: context, dockerfile };
  const { packDockerfile } = await import("./build-context.ts");
  return packDockerfile(context, dockerfile);
}
