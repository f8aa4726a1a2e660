import { chmodSync } from "node:fs";
import { join } from "node:path";
import { SandboxError } from "../../contract/index.ts";
import { makeHome as makeFolder } from "../../contract/make-home.ts";

/** What lies where under `$MSB_HOME`. */
export interface Paths {
  home: string;
  database: string;
  assets: string;
  templates: string;
  states: string;
  images: string;
  sandboxes: string;
  volumes: string;
  run: string;
  machine: string;
  /** Files of settings that the user writes, and of what msb login is given. */
  imageSettings: string;
  imagePolicy: string;
  folderPolicy: string;
  networkSettings: string;
  poolSettings: string;
  credentials: string;
}

export function pathsOf(home: string): Paths {
  return {
    home,
    database: join(home, "state.db"),
    assets: join(home, "assets"),
    templates: join(home, "templates"),
    states: join(home, "states"),
    images: join(home, "images"),
    sandboxes: join(home, "sandboxes"),
    volumes: join(home, "volumes"),
    run: join(home, "run"),
    machine: join(home, "machine"),
    imageSettings: join(home, "images.json"),
    imagePolicy: join(home, "policy.json"),
    folderPolicy: join(home, "mounts.json"),
    networkSettings: join(home, "network.json"),
    poolSettings: join(home, "pool.json"),
    credentials: join(home, "credentials.json"),
  };
}

/** The longest home: `/run/<8>/agent` behind it must fit into a unix socket's 108 bytes, its final NUL included. */
const MAX_HOME = 107 - "/run/12345678/agent".length;

/** @throws `permission_denied` if a folder cannot be made, `invalid_argument` if the path is too long for sockets */
export function makeHome(home: string): Paths {
  if (Buffer.byteLength(home) > MAX_HOME) {
    throw new SandboxError("invalid_argument", `MSB_HOME is too long for the sockets below it: '${home}'`, {
      hint: `Choose a path of at most ${MAX_HOME} bytes.`,
    });
  }
  const paths = pathsOf(home);
  const { assets, templates, states, images, sandboxes, volumes, run, machine } = paths;
  for (const folder of [home, assets, templates, states, images, sandboxes, volumes, run, machine]) {
    try {
      makeFolder(folder);
      // Snapshots hold memory, and so secrets. VMMs get what is below mounted, and need not walk through.
      if (folder === states) chmodSync(folder, 0o700);
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      if (code === "ENOSPC" || code === "EDQUOT") {
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
