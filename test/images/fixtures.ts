import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { applicationLayers, nastyLayers, rareLayers } from "./layers.ts";

const run = promisify(execFile);
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
  busybox: () => umoci([BASE], ["--config.cmd", "sh", "--config.env", "FROM=umoci"]),
  /** A Debian with Python and five layers of an application, by umoci. */
  python: async () =>
    umoci(
      [PYTHON, ...applicationLayers()],
      ["--config.cmd", "app", "--config.user", "user", "--config.workingdir", "/opt/app"],
    ),
  /** Everything that layers stumble over, by umoci. */
  nasty: async () => umoci([BASE, ...nastyLayers(), ...rareLayers()], ["--config.cmd", "sh"]),
  /** By buildah: a layer of its own, and Docker's media types. */
  buildah,
} as const;

export type FixtureName = keyof typeof RECIPES;
export const FIXTURES = Object.keys(RECIPES) as FixtureName[];

/** The image, made when it is first asked for: once, as long as what it is made of stays the same. */
export async function fixture(name: FixtureName): Promise<Fixture> {
  const here = import.meta.dirname;
  const inputs = createHash("sha256");
  for (const file of [
    BASE,
    ...(name === "python" ? [PYTHON] : []),
    join(here, "layers.ts"),
    join(here, "fixtures.ts"),
  ]) {
    inputs.update(await readFile(file));
  }
  const layout = join(FOLDER, `${name}-${inputs.digest("hex").slice(0, 16)}`);
  const found = { name, layout, tag: "test" };
  if (
    await access(layout).then(
      () => true,
      () => false,
    )
  )
    return found;
  await mkdir(FOLDER, { recursive: true });
  const made = await RECIPES[name]();
  await rename(made, layout);
  return found;
}

type Layer = string | Buffer;

async function umoci(layers: readonly Layer[], config: readonly string[]): Promise<string> {
  const work = await mkdtemp(join(FOLDER, ".making-"));
  const image = `${work}:test`;
  await rm(work, { recursive: true });
  await run("umoci", ["init", "--layout", work]);
  await run("umoci", ["new", "--image", image]);
  for (const layer of layers) {
    const path = typeof layer === "string" ? layer : join(FOLDER, `.layer-${process.pid}.tar`);
    if (typeof layer !== "string") await writeFile(path, layer);
    await run("umoci", ["raw", "add-layer", "--image", image, path]);
    if (typeof layer !== "string") await rm(path);
  }
  await run("umoci", ["config", "--image", image, ...config]);
  return work;
}

async function buildah(): Promise<string> {
  const work = await mkdtemp(join(FOLDER, ".making-"));
  const storage = await mkdtemp(join(FOLDER, ".storage-"));
  const tool = (...args: string[]) =>
    run("buildah", [
      "--root",
      join(storage, "root"),
      "--runroot",
      join(storage, "run"),
      "--storage-driver",
      "vfs",
      ...args,
    ]);
  try {
    const container = (await tool("from", "scratch")).stdout.trim();
    await tool("add", "--quiet", container, BASE, "/");
    await tool("config", "--cmd", "sh", "--label", "made.by=buildah", "--stop-signal", "SIGINT", container);
    await rm(work, { recursive: true });
    await tool("commit", "--quiet", "--format", "docker", container, `dir:${work}-dir`);
    await run("skopeo", ["copy", "--quiet", `dir:${work}-dir`, `oci:${work}:test`]);
    await rm(`${work}-dir`, { recursive: true });
    return work;
  } finally {
    await rm(storage, { recursive: true, force: true });
  }
}
