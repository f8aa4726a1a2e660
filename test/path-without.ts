import { access, constants, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

/** What starting a machine calls by name. */
const PROGRAMS = ["qemu-system-x86_64", "bwrap", "prlimit", "setpriv", "ldd", "bash", "sh"];

/** A folder for PATH that holds what a machine's start needs, but for one program. */
export async function pathWithout(missing: string): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "msb-path-"));
  const places = (process.env.PATH ?? "").split(delimiter).filter(Boolean);
  for (const name of PROGRAMS.filter((program) => program !== missing)) {
    for (const place of places) {
      const there = await access(join(place, name), constants.X_OK).then(
        () => true,
        () => false,
      );
      if (!there) continue;
      await symlink(join(place, name), join(path, name));
      break;
    }
  }
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
