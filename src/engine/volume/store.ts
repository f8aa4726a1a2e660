import { randomBytes } from "node:crypto";
import { renameSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { SandboxError, volumeName } from "../../contract/index.ts";
import { exists } from "../exists.ts";
import { storageError } from "../storage-error.ts";
import { syncPath } from "../sync-path.ts";
import { copyBlank } from "./blank.ts";
import { copyDisk } from "./copy-disk.ts";

/**
 * The volumes of a home.
 *
 *     volumes/<name>/disk.ext4     raw disk, sparse
 *     volumes/<name>/volume.json   what was asked for
 *     volumes/.<random>            half made, or half removed; swept at start
 *
 * Raw, not qcow2: a volume goes from one VMM to the next, and a raw disk has no header in which an owned one could leave
 * something for the other.
 */
const DISK = "disk.ext4";
const DESCRIPTION = "volume.json";
const MIB = 1024 ** 2;

const description = z.object({
  version: z.literal(1),
  sizeMiB: z.int().min(1),
  createdAt: z.iso.datetime(),
});

export interface StoredVolume {
  name: string;
  sizeMiB: number;
  createdAt: string;
  file: string;
  /** Space that it takes. */
  usedBytes: number;
}

export interface VolumeStoreOptions {
  directory: string;
  /** The file with a blank ext4 that volumes begin as, and the size of its file system. */
  blank: () => Promise<{ file: string; sizeBytes: number }>;
}

export class VolumeStore {
  private readonly options: VolumeStoreOptions;

  constructor(options: VolumeStoreOptions) {
    this.options = options;
  }

  /** @throws `already_exists`; `resource_exhausted` if the host's disk is full */
  async create(name: string, sizeMiB: number): Promise<StoredVolume> {
    if (await this.exists(name)) throw taken(name);
    const blank = await this.options.blank();
    if (sizeMiB * MIB < blank.sizeBytes) {
      throw new SandboxError("invalid_argument", `a volume has at least ${blank.sizeBytes / MIB} MiB`);
    }
    return this.make(name, sizeMiB, (disk) => copyBlank(blank.file, disk, sizeMiB * MIB));
  }

  /** A volume that begins as a copy of a disk that nobody writes to. @throws as `create`; `timeout`, `cancelled` */
  async createFrom(
    name: string,
    file: string,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<StoredVolume> {
    if (await this.exists(name)) throw taken(name);
    const { size } = await stat(file);
    return this.make(name, Math.ceil(size / MIB), (disk) => copyDisk(file, disk, options));
  }

  private async make(
    name: string,
    sizeMiB: number,
    fill: (disk: string) => Promise<void>,
  ): Promise<StoredVolume> {
    const target = this.directoryOf(name);
    const partial = this.scratch();
    try {
      await mkdir(partial, { mode: 0o700 });
      await fill(join(partial, DISK));
      const text = JSON.stringify({ version: 1, sizeMiB, createdAt: new Date().toISOString() });
      await writeFile(join(partial, DESCRIPTION), text, { flush: true });
      // Onto a folder that is not empty it fails: of two at the same time one is the first.
      await rename(partial, target);
      await syncPath(this.options.directory);
    } catch (cause) {
      await rm(partial, { recursive: true, force: true });
      const { code } = cause as NodeJS.ErrnoException;
      if (code === "ENOTEMPTY" || code === "EEXIST") throw taken(name);
      throw storageError(cause, `making volume '${name}'`);
    }
    return this.get(name);
  }

  /** @throws `not_found`; `internal` if its folder is damaged */
  async get(name: string): Promise<StoredVolume> {
    const directory = this.directoryOf(name);
    let text: string;
    try {
      text = await readFile(join(directory, DESCRIPTION), "utf8");
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT" && !(await exists(directory)))
        throw missing(name);
      throw damaged(name, cause);
    }
    const file = join(directory, DISK);
    try {
      const { sizeMiB, createdAt } = description.parse(JSON.parse(text));
      const { blocks } = await stat(file);
      return { name, sizeMiB, createdAt, file, usedBytes: blocks * 512 };
    } catch (cause) {
      throw damaged(name, cause);
    }
  }

  async exists(name: string): Promise<boolean> {
    return exists(this.directoryOf(name));
  }

  /** Damaged ones are left out. */
  async list(): Promise<StoredVolume[]> {
    const names = (await readdir(this.options.directory)).filter(
      (name) => volumeName.safeParse(name).success,
    );
    const volumes = await Promise.all(names.sort().map((name) => this.get(name).catch(() => undefined)));
    return volumes.filter((volume) => volume !== undefined);
  }

  /**
   * It is out of the way when this returns the first time: whoever has seen that nobody uses it can be sure that nobody begins to.
   * @throws `not_found`
   */
  remove(name: string): Promise<void> {
    const doomed = this.scratch();
    try {
      renameSync(this.directoryOf(name), doomed);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") throw missing(name);
      throw cause;
    }
    return rm(doomed, { recursive: true, force: true });
  }

  /** Removes what interrupted work left. */
  async sweep(): Promise<void> {
    for (const name of await readdir(this.options.directory)) {
      if (name.startsWith("."))
        await rm(join(this.options.directory, name), { recursive: true, force: true });
    }
  }

  private directoryOf(name: string): string {
    return join(this.options.directory, volumeName.parse(name));
  }

  private scratch(): string {
    return join(this.options.directory, `.${randomBytes(8).toString("hex")}`);
  }
}

function taken(name: string): SandboxError {
  return new SandboxError("already_exists", `there is a volume '${name}' already`, {
    hint: `Choose another name, or remove it: msb volume rm ${name}`,
  });
}

function missing(name: string): SandboxError {
  return new SandboxError("not_found", `there is no volume '${name}'`, {
    hint: "'msb volume ls' lists those that there are.",
  });
}

function damaged(name: string, cause: unknown): SandboxError {
  return new SandboxError("internal", `volume '${name}' is damaged: ${(cause as Error).message}`, { cause });
}
