import { SandboxError } from "../contract/errors.ts";

/** One end of `msb cp`: a path of a sandbox, a path here, or `-`, which is a tar from stdin or to stdout. */
export type End =
  | { where: "sandbox"; sandbox: string; path: string }
  | { where: "here"; path: string }
  | { where: "stream" };

/**
 * What an argument names: `NAME:PATH` is a sandbox's, from its root; what begins with a slash or a dot, or has no colon, is here.
 *
 * @throws SandboxError `invalid_argument` for an empty part
 */
export function parseEnd(text: string): End {
  if (text === "-") return { where: "stream" };
  const colon = text.indexOf(":");
  if (colon === -1 || /^[./]/.test(text)) {
    if (text === "") throw new SandboxError("invalid_argument", "a path is empty");
    return { where: "here", path: text };
  }
  const [sandbox, path] = [text.slice(0, colon), text.slice(colon + 1)];
  if (sandbox === "" || path === "") {
    throw new SandboxError("invalid_argument", `'${text}' names no file of a sandbox`, {
      hint: "Write NAME:PATH, as box:/tmp/file; a file here whose name has a colon is written ./a:b.",
    });
  }
  return { where: "sandbox", sandbox, path: path.startsWith("/") ? path : `/${path}` };
}
