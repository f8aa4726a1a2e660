import { mkdir, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { SandboxError } from "../../contract/index.ts";

/** What lies where under `$MSB_HOME`. */
export interface Paths {
  home: string;
  database: string;
  assets: string;
  templates: string;
  images: string;
  sandboxes: string;
  run: string;
  machine: string;
}

/** `$MSB_HOME`; as root `/var/lib/microsandbox`, else `~/.microsandbox`. */
export function defaultHome(env: NodeJS.ProcessEnv = process.env): string {
  if (env.MSB_HOME) return env.MSB_HOME;
  return process.getuid?.() === 0 ? "/var/lib/microsandbox" : join(homedir(), ".microsandbox");
}

export function pathsOf(home: string): Paths {
  return {
    home,
    database: join(home, "state.db"),
    assets: join(home, "assets"),
    templates: join(home, "templates"),
    images: join(home, "images"),
    sandboxes: join(home, "sandboxes"),
    run: join(home, "run"),
    machine: join(home, "machine"),
  };
}

/** The longest home: `/run/<8>/agent` behind it must fit into a unix socket's 108 bytes, its final NUL included. */
const MAX_HOME = 107 - "/run/12345678/agent".length;

/** @throws `permission_denied` if a folder cannot be made, `invalid_argument` if the path is too long for sockets */
export async function makeHome(home: string): Promise<Paths> {
  if (Buffer.byteLength(home) > MAX_HOME) {
    throw new SandboxError("invalid_argument", `MSB_HOME is too long for the sockets below it: '${home}'`, {
      hint: `Choose a path of at most ${MAX_HOME} bytes.`,
    });
  }
  const paths = pathsOf(home);
  const { database: _database, home: _home, ...folders } = paths;
  for (const folder of [home, ...Object.values(folders)]) {
    try {
      await makeFolder(folder, folder === paths.sandboxes ? 0o711 : 0o755);
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      if (code === "ENOSPC") {
        throw new SandboxError("resource_exhausted", `the disk is full: '${folder}' cannot be made`, {
          cause,
        });
      }
      throw new SandboxError("permission_denied", `MSB_HOME cannot be written: '${folder}' (${code})`, {
        hint: "Set MSB_HOME to a folder of your own, or correct its owner.",
        cause,
      });
    }
  }
  return paths;
}

/**
 * Makes a folder and those above it. Not by `recursive: true`: under a file system that answers ENOENT to every mkdir (/proc
 * does), Node 24 tries for ever.
 */
async function makeFolder(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" && (await stat(path)).isDirectory()) return;
    if (code !== "ENOENT" || (await stat(dirname(path)).catch(() => undefined)) !== undefined) throw error;
    await makeFolder(dirname(path), mode);
    await mkdir(path, { mode });
  }
}
