import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Makes `$MSB_HOME`, or a folder in it, where it is missing; client and daemon may each be the first to need it. It is not
 * `mkdirSync(…, {recursive: true})`, which never returns below a folder where nothing can be made, such as `/proc`.
 *
 * @throws the system's error
 */
export function makeHome(path: string): void {
  // As root VMs run as another user, who has to walk through; nobody may list.
  const mode = process.getuid?.() === 0 ? 0o711 : 0o700;
  for (let attempt = 1; ; attempt++) {
    try {
      mkdirSync(path, { mode });
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EEXIST" && statSync(path).isDirectory()) return;
      // Twice, because somebody else may be making the same folders at this moment.
      if (code !== "ENOENT" || attempt === 2) throw error;
      if (dirname(path) !== path && !existsSync(dirname(path))) makeHome(dirname(path));
    }
  }
}
