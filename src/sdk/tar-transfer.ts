import { stat } from "node:fs/promises";
import type { Readable } from "node:stream";
import { SandboxError } from "../contract/errors.ts";
import { IMAGE_CONFIG_HEADER, MAX_HEADER_JSON_BYTES } from "../contract/upload.ts";
import { readTarFile, writeTarFile } from "./tar-file.ts";

/** What calls need that move tars. Loaded when they are made: the calls that start a sandbox are faster without. */

export { readTarFile, writeTarFile };

/** A file's contents, or a folder packed. */
export async function tarAt(path: string): Promise<Readable> {
  if (!(await stat(path)).isDirectory()) return readTarFile(path);
  const [{ folderNames }, { packWithTar }] = await Promise.all([
    import("./folder-names.ts"),
    import("./host-tar.ts"),
  ]);
  return packWithTar(folderNames(path), { folder: path, owners: "kept" });
}

export function configHeader(config: unknown): Record<string, string> {
  return config === undefined ? {} : { [IMAGE_CONFIG_HEADER]: jsonHeader(config, "the image config") };
}

/**
 * A value as it goes in a header, beside a body that is a tar.
 *
 * @param what it is, for errors
 */
export function jsonHeader(value: unknown, what: string): string {
  const bytes = Buffer.from(JSON.stringify(value));
  if (bytes.length <= MAX_HEADER_JSON_BYTES) return bytes.toString("base64");
  throw new SandboxError(
    "invalid_argument",
    `${what} has ${bytes.length} bytes of JSON, ${MAX_HEADER_JSON_BYTES} are allowed`,
  );
}
