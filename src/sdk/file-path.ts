import { isUtf8 } from "node:buffer";
import { BASE64_PATH } from "../contract/file-path.ts";

/** Paths of a sandbox are bytes. As text they are themselves, or `base64:…` if they are no UTF-8. */

/** A path as the API takes it. */
export function pathText(path: string | Uint8Array): string {
  if (typeof path !== "string" && isUtf8(path)) return pathText(Buffer.from(path).toString("utf8"));
  // A name may begin like our mark.
  if (typeof path === "string" && !path.startsWith(BASE64_PATH)) return path;
  return BASE64_PATH + Buffer.from(path as Uint8Array).toString("base64");
}

/** The bytes of a path or a link's target that the API gave. */
export function pathBytes(text: string): Buffer {
  return text.startsWith(BASE64_PATH)
    ? Buffer.from(text.slice(BASE64_PATH.length), "base64")
    : Buffer.from(text);
}
