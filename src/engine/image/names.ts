/**
 * Which image a name means. The store needs no more than this interface, so that names may live in a database
 * beside other state; FileImageNames keeps each in a small file of its own.
 */

import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { storing } from "../storage-error.ts";
import { type Digest, hexOf, isDigest, sha256 } from "./digest.ts";
import { PARTIAL_SUFFIX, writeDurably } from "./durable.ts";

export interface NamedImage {
  /** A full name, as canonicalName() makes it. */
  name: string;
  digest: Digest;
  /** When the name was given to this image: milliseconds since 1970. */
  namedAtMs: number;
  /** By which the registry of the name knows the image; the index's, if the name stands for one. */
  manifestDigest?: Digest | undefined;
}

export interface ImageNames {
  /** The image of a name; undefined if the name is not taken. */
  get(name: string): Promise<NamedImage | undefined>;
  /** Gives a name to an image, and takes it from the one that had it. */
  set(image: NamedImage): Promise<void>;
  /** All names, sorted. */
  list(): Promise<NamedImage[]>;
  /** Frees a name; false if it was not taken. */
  delete(name: string): Promise<boolean>;
}

const digest = z.custom<Digest>((value) => typeof value === "string" && isDigest(value));
const schema = z.object({
  name: z.string(),
  digest,
  namedAtMs: z.number(),
  manifestDigest: digest.optional(),
});

/**
 * Names as files in a folder, one each, called by the hash of the name (names hold slashes and can be long). The folder is its own: what
 * is in it is read once.
 */
export class FileImageNames implements ImageNames {
  readonly #directory: string;
  #known: Promise<Map<string, NamedImage>> | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  #path(name: string): string {
    return join(this.#directory, `${hexOf(sha256(name))}.json`);
  }

  async get(name: string): Promise<NamedImage | undefined> {
    return (await this.#all()).get(name);
  }

  async set(image: NamedImage): Promise<void> {
    const known = await this.#all();
    await storing(`naming the image ${image.name}`, async () => {
      await mkdir(this.#directory, { recursive: true });
      await writeDurably(this.#path(image.name), `${JSON.stringify(image)}\n`, 0o644);
    });
    known.set(image.name, image);
  }

  async list(): Promise<NamedImage[]> {
    const images = [...(await this.#all()).values()];
    return images.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }

  #all(): Promise<Map<string, NamedImage>> {
    // What could not be read is tried again.
    this.#known ??= this.#readAll().catch((error: unknown) => {
      this.#known = undefined;
      throw error;
    });
    return this.#known;
  }

  async #readAll(): Promise<Map<string, NamedImage>> {
    const files = await readdir(this.#directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw error;
    });
    const images = await Promise.all(
      files.filter((file) => file.endsWith(".json")).map((file) => this.#read(join(this.#directory, file))),
    );
    return new Map(images.filter((image) => image !== undefined).map((image) => [image.name, image]));
  }

  async delete(name: string): Promise<boolean> {
    const known = await this.#all();
    if (!known.has(name)) return false;
    await storing(`removing the image name ${name}`, () => rm(this.#path(name), { force: true }));
    return known.delete(name);
  }

  /** Removes what a crash left half-written. */
  async sweep(): Promise<void> {
    const files = await readdir(this.#directory).catch(() => []);
    for (const file of files) {
      if (file.endsWith(PARTIAL_SUFFIX)) await rm(join(this.#directory, file), { force: true });
    }
  }

  /** A file that cannot be read counts as no name: one damaged file must not hide all other images. */
  async #read(path: string): Promise<NamedImage | undefined> {
    try {
      return schema.parse(JSON.parse(await readFile(path, "utf8")));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT" || error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
      throw error;
    }
  }
}
