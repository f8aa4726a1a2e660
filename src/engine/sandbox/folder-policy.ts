/**
 * `mounts.json`: which folders of the host may be mounted. The longest path that a folder is, or is in, holds; `default` where none does.
 *
 *     {
 *       "default": { "allow": false },
 *       "folders": {
 *         "/home/me/src": {},
 *         "/data": { "readOnly": true },
 *         "/home/me/src/secret": { "allow": false }
 *       }
 *     }
 *
 * Whoever has a folder has all that is in it: one that holds a forbidden folder may not be mounted, nor one for writing that holds a
 * read-only one. Paths are compared as what they are in truth, without links. The daemon's home is never mounted, whatever the file says.
 */

import { realpathSync, statSync } from "node:fs";
import { basename, dirname, isAbsolute, join, normalize } from "node:path";
import { z } from "zod";
import { type FolderMount, SandboxError } from "../../contract/index.ts";
import { SettingsFile } from "../image/index.ts";

const rule = z.strictObject({
  /** Default: true. */
  allow: z.boolean().default(true),
  /** Only for reading. Default: false. */
  readOnly: z.boolean().default(false),
});

/** What is wrong with the name of an entry: one that is no path, or spelled as no path is, would silently hold for nothing. */
function complaintAbout(path: string): string | undefined {
  if (!isAbsolute(path) || path.includes("\0")) return "the name must be an absolute path, as /srv/data";
  if (path !== "/" && normalize(path) !== path)
    return "the path must have no '.', no '..' and no doubled slash";
  return undefined;
}

const schema = z.strictObject({
  default: rule.prefault({}),
  folders: z
    .record(z.string(), rule)
    .superRefine((folders, context) => {
      for (const path of Object.keys(folders)) {
        const message = complaintAbout(path);
        if (message !== undefined) context.addIssue({ code: "custom", path: [path], message });
      }
    })
    .default({}),
});

type Rule = z.output<typeof rule>;
interface Entry {
  /** As the file has it. */
  name: string;
  /** What it is in truth. */
  real: string;
  rule: Rule;
}

export class FolderPolicy {
  readonly #file: SettingsFile<z.output<typeof schema>>;
  readonly #home: string;

  /** @param path of the file, which need not be there; `home`: the daemon's */
  constructor(path: string, home: string) {
    this.#file = new SettingsFile(path, schema);
    this.#home = home;
  }

  /**
   * The folder that a mount's source is in truth.
   * @throws SandboxError `not_found`, `invalid_argument` for what is no folder or a file that is not valid, `permission_denied`
   */
  check({ source, readOnly }: Pick<FolderMount, "source" | "readOnly">): string {
    const real = folderOf(source);
    const own = realpathSync(this.#home);
    if (isWithin(real, own) || isWithin(own, real)) {
      throw new SandboxError(
        "permission_denied",
        `'${source}' holds Microsandbox's own files ('${this.#home}') or is one of them: no sandbox may have it`,
        { hint: "Mount a folder beside it, or set MSB_HOME to somewhere else." },
      );
    }
    this.#assertAllowed(source, real, readOnly);
    return real;
  }

  /**
   * The path of a file that the daemon is asked to write, without links. It may be where a folder might be mounted for writing.
   * @throws SandboxError as `check` does
   */
  checkFile(path: string): string {
    const real = join(folderOf(dirname(path)), basename(path));
    if (isWithin(real, realpathSync(this.#home)))
      throw new SandboxError("permission_denied", `'${path}' is among Microsandbox's own files`, {
        hint: "Name a file elsewhere.",
      });
    this.#assertAllowed(path, real, false);
    return real;
  }

  #assertAllowed(source: string, real: string, readOnly: boolean): void {
    const { default: fallback, folders } = this.#file.get();
    const entries = Object.entries(folders).map(([name, rule]) => ({
      name,
      real: realAsFarAsThere(name),
      rule,
    }));
    const around = entries.filter((entry) => isWithin(real, entry.real));
    const longest = Math.max(...around.map((entry) => entry.real.length));
    // Two names of one folder: what either forbids is forbidden.
    const holding = around.filter((entry) => entry.real.length === longest);
    if (holding.length === 0) holding.push({ name: "default", real: "/", rule: fallback });
    for (const entry of holding) {
      if (!entry.rule.allow) throw this.#denied(source, entry, "may not be mounted");
      if (entry.rule.readOnly && !readOnly) throw this.#onlyForReading(source, entry, "may be mounted");
    }
    for (const entry of entries.filter((entry) => entry.real !== real && isWithin(entry.real, real))) {
      const holds = `holds '${entry.name}', which`;
      if (!entry.rule.allow) throw this.#denied(source, entry, `${holds} may not be mounted`);
      if (entry.rule.readOnly && !readOnly)
        throw this.#onlyForReading(source, entry, `${holds} may be mounted`);
    }
  }

  #onlyForReading(source: string, entry: Entry, reason: string): SandboxError {
    const hint = "Mount it read-only: --volume SOURCE:/folder:ro, readOnly in the spec";
    return this.#denied(source, entry, `${reason} only for reading`, hint);
  }

  #denied(source: string, { name }: Entry, reason: string, hint?: string): SandboxError {
    const { path } = this.#file;
    return new SandboxError("permission_denied", `'${source}' ${reason}`, {
      hint: `${hint === undefined ? "" : `${hint}. `}The entry "${name}" of ${path} says so.`,
      details: { policy: path, entry: name },
    });
  }
}

function folderOf(source: string): string {
  let real: string;
  try {
    real = realpathSync(source);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "EACCES") {
      throw new SandboxError("permission_denied", `the daemon cannot reach '${source}' on the host`, {
        hint: "The user who runs the daemon must be able to enter the folders above it.",
        cause,
      });
    }
    throw new SandboxError("not_found", `there is no folder '${source}' on the host`, {
      hint: "Make it first: a folder that is to be mounted is never made.",
      cause,
    });
  }
  if (!statSync(real).isDirectory()) {
    throw new SandboxError("invalid_argument", `'${source}' on the host is no folder`, {
      hint: "Only folders can be mounted: mount the one that it is in.",
    });
  }
  return real;
}

/** What is not there yet may come, in a folder that is mounted already: what is above it is there. */
function realAsFarAsThere(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path === "/" ? path : join(realAsFarAsThere(dirname(path)), basename(path));
  }
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === "/" ? "/" : `${folder}/`);
}
