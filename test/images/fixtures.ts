import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { mkdir, mkdtempDisposable, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { applicationLayers, nastyLayers, rareLayers } from "./layers.ts";
import { run, skopeo } from "./tools.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const FOLDER = join(ROOT, "build/test-images");
const BASE = join(ROOT, "build/images/msb-base.tar");
const PYTHON = join(ROOT, "build/images/msb-python.tar");

/** An image as an OCI layout, made by real tools. */
export interface Fixture {
  name: string;
  /** Folder of the layout. */
  layout: string;
  /** Its one tag. */
  tag: string;
}

const RECIPES = {
  /** One layer of busybox, by umoci. */
  busybox: (work) => umoci(work, [BASE], ["--config.cmd", "sh", "--config.env", "FROM=umoci"]),
  /** A Debian with Python and five layers of an application, by umoci. */
  python: (work) =>
    umoci(
      work,
      [PYTHON, ...applicationLayers()],
      ["--config.cmd", "app", "--config.user", "user", "--config.workingdir", "/opt/app"],
    ),
  /** Everything that layers stumble over, by umoci. */
  nasty: (work) => umoci(work, [BASE, ...nastyLayers(), ...rareLayers()], ["--config.cmd", "sh"]),
  /** By buildah: a layer of its own, and Docker's media types. */
  buildah,
} as const satisfies Record<string, (work: string) => Promise<string>>;

export type FixtureName = keyof typeof RECIPES;
export const FIXTURES = Object.keys(RECIPES) as FixtureName[];

/** The image, made when it is first asked for: once, as long as what it is made of stays the same. */
export async function fixture(name: FixtureName): Promise<Fixture> {
  const layout = join(FOLDER, `${name}-${await keyOf(name)}`);
  const found = { name, layout, tag: "test" };
  if (existsSync(layout)) return found;
  await mkdir(FOLDER, { recursive: true });
  const outdated = (await readdir(FOLDER)).filter((other) => other.startsWith(`${name}-`));
  await using work = await mkdtempDisposable(join(FOLDER, ".making-"));
  const made = await RECIPES[name](work.path);
  await rename(made, layout).catch((error) => {
    if (!existsSync(layout)) throw error; // somebody else was faster, with the same
  });
  for (const other of outdated) await rm(join(FOLDER, other), { recursive: true, force: true });
  return found;
}

/** Of all that the image is made of. */
async function keyOf(name: FixtureName): Promise<string> {
  const here = import.meta.dirname;
  const inputs = createHash("sha256");
  const tars = name === "python" ? [BASE, PYTHON] : [BASE];
  for (const file of [...tars, join(here, "layers.ts"), join(here, "fixtures.ts")]) {
    await pipeline(createReadStream(file), inputs, { end: false });
  }
  return inputs.digest("hex").slice(0, 16);
}

type Layer = string | Buffer;

/** A layout of these layers, lowest first, in the folder `work`. */
async function umoci(work: string, layers: readonly Layer[], config: readonly string[]): Promise<string> {
  const layout = join(work, "layout");
  const image = `${layout}:test`;
  await run("umoci", ["init", "--layout", layout]);
  await run("umoci", ["new", "--image", image]);
  for (const layer of layers) {
    const path = typeof layer === "string" ? layer : join(work, "layer.tar");
    if (typeof layer !== "string") await writeFile(path, layer);
    await run("umoci", ["raw", "add-layer", "--image", image, path]);
  }
  await run("umoci", ["config", "--image", image, ...config]);
  return layout;
}

/** Without RUN, which would need more of the host than tests may ask for. */
async function buildah(work: string): Promise<string> {
  const storage = ["--root", join(work, "root"), "--runroot", join(work, "run"), "--storage-driver", "vfs"];
  const tool = (...args: string[]) => run("buildah", [...storage, ...args]);
  const container = (await tool("from", "scratch")).trim();
  await tool("add", "--quiet", container, BASE, "/");
  await tool("config", "--cmd", "sh", "--label", "made.by=buildah", "--stop-signal", "SIGINT", container);
  const folder = join(work, "docker");
  await tool("commit", "--quiet", "--format", "docker", container, `dir:${folder}`);
  await skopeo("copy", "--quiet", `dir:${folder}`, `oci:${join(work, "layout")}:test`);
  return join(work, "layout");
}
