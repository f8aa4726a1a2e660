/** `manifest.json` of what `docker save` writes: which configuration and layers each image has, by paths in the archive. */

import { z } from "zod";
import { SandboxError } from "../../../contract/errors.ts";
import { type ByteString, fromBytes } from "../../../tar/index.ts";
import { MAX_LAYERS } from "../oci-image.ts";
import type { Archive } from "./read-archive.ts";

const path = z.string().min(1).max(4096);
const schema = z
  .array(
    z.object({
      Config: path,
      RepoTags: z.array(z.string().max(512)).max(256).nullish(),
      Layers: z.array(path).max(MAX_LAYERS),
    }),
  )
  .min(1)
  .max(256);

/** An image as an archive names its parts. */
export interface ArchivedImage {
  /** The bytes of its configuration. */
  config: Buffer;
  /** Paths of its layers in the archive, lowest first. */
  layers: ByteString[];
  /** References, as the archive has them. */
  names: string[];
}

/** The images of an archive that has a `manifest.json`; undefined if it has none. Errors: `invalid_argument`. */
export function dockerImages(archive: Archive): ArchivedImage[] | undefined {
  const document = archive.document("manifest.json");
  if (document === undefined) return undefined;
  const parsed = schema.safeParse(parseJson(document));
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new SandboxError(
      "invalid_argument",
      `manifest.json of the archive is invalid: ${issue.path.join(".") || "it"}: ${issue.message}`,
    );
  }
  return parsed.data.map(({ Config, RepoTags, Layers }) => {
    const config = archive.document(utf8(Config));
    if (config === undefined) {
      throw new SandboxError(
        "invalid_argument",
        `the archive names the configuration ${JSON.stringify(Config)}, which it does not hold`,
      );
    }
    return { config, layers: Layers.map(utf8), names: RepoTags ?? [] };
  });
}

function parseJson(document: Buffer): unknown {
  try {
    return JSON.parse(document.toString("utf8"));
  } catch {
    return undefined;
  }
}

/** Paths in JSON are text, those of a tar are bytes. */
const utf8 = (text: string): ByteString => fromBytes(Buffer.from(text, "utf8"));
