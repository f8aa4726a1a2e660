import { once } from "node:events";
import { SandboxError } from "../../contract/index.ts";
import type { SandboxFiles } from "../../engine/index.ts";

/** A sandbox that is no VM has no files of its own; what is written is counted, read back it is its path. */
export function localFiles(name: string): SandboxFiles {
  return {
    async read({ path }) {
      return (async function* () {
        yield Buffer.from(path);
      })();
    },
    async write(_request, body) {
      let bytes = 0;
      for await (const piece of body) bytes += piece.length;
      return bytes;
    },
    async list({ path }) {
      throw new SandboxError("not_found", `cannot list ${path}`);
    },
    async operate({ op, path }) {
      throw new SandboxError("unsupported", `sandbox ${name} cannot ${op} ${path}`);
    },
    async pack({ path, follow = false }) {
      if (path === "/missing") throw new SandboxError("not_found", `cannot read ${path}`);
      return (async function* () {
        yield Buffer.from(`${path} ${follow}`);
        if (path === "/broken") throw new SandboxError("internal", `cannot read ${path}`);
      })();
    },
    async extract({ path, ...owners }, tar) {
      let bytes = 0;
      for await (const piece of tar) bytes += piece.length;
      if (path === "/taken") {
        throw new SandboxError("already_exists", `${bytes} bytes, ${JSON.stringify(owners)}`);
      }
    },
    async watch({ path, ...request }, signal) {
      if (path === "/missing") throw new SandboxError("not_found", `cannot watch ${path}`);
      return (async function* () {
        yield [{ type: "created", path: JSON.stringify(request), isFolder: true }];
        if (path === "/broken") throw new SandboxError("resource_exhausted", `cannot watch ${path}`);
        if (path === "/endless") await once(signal!, "abort");
        else yield [{ type: "moved", path: "b", from: "a", isFolder: false }];
      })();
    },
  };
}
