import { randomBytes } from "node:crypto";
import { lstat, readFile, stat } from "node:fs/promises";
import { isAbsolute, join, relative, resolve } from "node:path";
import { Readable } from "node:stream";
import { type IgnoreRules, parseIgnoreFile } from "../contract/dockerignore.ts";
import { SandboxError } from "../contract/errors.ts";
import { BUILD_REQUEST_HEADER } from "../contract/upload.ts";
import { type FolderFilter, folderNames } from "./folder-names.ts";
import { packWithTar } from "./host-tar.ts";
import { tarEntry } from "./tar-entry.ts";
import { jsonHeader } from "./tar-transfer.ts";

/** A folder as the context of a build: without what its ignore file leaves out, and with the Dockerfile, wherever that is. */
export interface BuildContext {
  tar: Readable;
  /** The Dockerfile's path in it. */
  dockerfile: string;
}

/** What is asked of a build, as it goes beside its context. */
export function buildHeader(request: object): Record<string, string> {
  return { [BUILD_REQUEST_HEADER]: jsonHeader(request, "what the build is asked (arguments, labels, tags)") };
}

/** As the builder has it, too. */
const MAX_DOCKERFILE_BYTES = 1024 * 1024;

/** The Dockerfile, and what it leaves out. `extra`: files that are not in the folder and go before what is. */
interface Recipe {
  dockerfile: string;
  ignoreFile: string | undefined;
  rules: IgnoreRules | undefined;
  extra: Buffer[];
}

/**
 * @param dockerfile its path, relative to the working directory, or its contents. Default: `Dockerfile` in the folder.
 * @throws `not_found`, `invalid_argument` with the line of an ignore file, …
 */
export async function packContext(folder: string, dockerfile?: string | Uint8Array): Promise<BuildContext> {
  if (!(await stat(folder)).isDirectory()) {
    throw new SandboxError("invalid_argument", `${folder} is not a folder`, {
      hint: "a build's context is a folder; the Dockerfile is named with -f",
    });
  }
  const recipe = await recipeOf(folder, dockerfile);
  const names = folderNames(folder, filterOf(recipe));
  const packed = await packWithTar(names, { folder, owners: "root" });
  return { tar: withFront(recipe.extra, packed), dockerfile: recipe.dockerfile };
}

/** A context that is a tar already, with a Dockerfile that is given beside it. */
export function packDockerfile(context: Readable, dockerfile: Uint8Array): BuildContext {
  const name = freshName();
  return { tar: withFront([tarEntry(`./${name}`, dockerfile)], context), dockerfile: name };
}

/** No file of the context has it. */
const freshName = () => `.dockerfile-${randomBytes(8).toString("hex")}`;

async function recipeOf(folder: string, dockerfile: string | Uint8Array | undefined): Promise<Recipe> {
  const path = typeof dockerfile === "object" ? undefined : resolve(dockerfile ?? join(folder, "Dockerfile"));
  const inside = path === undefined ? undefined : await pathInside(folder, path);
  // A file of its own leaves out what it says for this Dockerfile; the folder's says it for all others.
  const own = path === undefined ? undefined : await textIfThere(`${path}.dockerignore`);
  const text = own ?? (await textIfThere(join(folder, ".dockerignore")));
  const textName = own === undefined ? ".dockerignore" : `${dockerfile ?? "Dockerfile"}.dockerignore`;
  const rules = text === undefined ? undefined : parseIgnoreFile(text, textName);
  if (inside !== undefined) {
    const ignoreFile = own === undefined ? ".dockerignore" : `${inside}.dockerignore`;
    return { dockerfile: inside, ignoreFile, rules, extra: [] };
  }
  const name = freshName();
  const contents = typeof dockerfile === "object" ? dockerfile : await dockerfileAt(path!, folder);
  const extra = [tarEntry(`./${name}`, contents)];
  if (own !== undefined) extra.push(tarEntry(`./${name}.dockerignore`, Buffer.from(own)));
  return { dockerfile: name, ignoreFile: own === undefined ? ".dockerignore" : undefined, rules, extra };
}

/** Its path in the folder; undefined for one outside, and for a link, since what it points to may not be sent. */
async function pathInside(folder: string, path: string): Promise<string | undefined> {
  const inside = relative(resolve(folder), path);
  if (inside === ".." || inside.startsWith("../") || isAbsolute(inside)) return undefined;
  try {
    return (await lstat(path)).isFile() ? inside : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") throw noDockerfile(path, folder);
    throw error;
  }
}

async function dockerfileAt(path: string, folder: string): Promise<Buffer> {
  try {
    const { size } = await stat(path);
    if (size <= MAX_DOCKERFILE_BYTES) return await readFile(path);
    throw new SandboxError(
      "invalid_argument",
      `${path} has ${size} bytes, ${MAX_DOCKERFILE_BYTES} are allowed`,
    );
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") throw noDockerfile(path, folder);
    throw error;
  }
}

function noDockerfile(path: string, folder: string): SandboxError {
  return new SandboxError("not_found", `there is no Dockerfile ${path}`, {
    hint: `-f FILE names one that is not ${join(folder, "Dockerfile")}`,
  });
}

async function textIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function filterOf({ dockerfile, ignoreFile, rules, extra }: Recipe): FolderFilter | undefined {
  if (rules === undefined) return undefined;
  // The builder reads these, whatever the rules say.
  const always = [
    ...(extra.length > 0 ? [] : [dockerfile]),
    ...(ignoreFile === undefined ? [] : [ignoreFile]),
  ];
  return {
    sends: (path) => always.includes(path) || !rules.ignores(path),
    entersUnsent: (path) =>
      always.some((one) => one.startsWith(`${path}/`)) || rules.mayContainException(path),
  };
}

function withFront(front: Buffer[], tar: Readable): Readable {
  if (front.length === 0) return tar;
  const joined = Readable.from(
    (async function* () {
      yield* front;
      yield* tar;
    })(),
    { objectMode: false },
  );
  // One that is never read never reaches the tar.
  joined.once("close", () => tar.destroy());
  return joined;
}
