import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadImages, pushImage, saveImages } from "../src/engine/image/index.ts";
import { buildGoProgram, type GoProgram } from "./go-program.ts";
import { FIXTURES, type FixtureName, fixture } from "./images/fixtures.ts";
import { ImageRoom } from "./images/image-room.ts";
import { oldSparseLayer } from "./images/layers.ts";
import { RegistryProcess } from "./images/registry-process.ts";
import { windows } from "./images/stored-tree.ts";
import { run, skopeo } from "./images/tools.ts";
import { differences, hostTree, type SeenTree } from "./images/tree.ts";

/**
 * What the store holds of an image is what umoci unpacks of it, whichever way it came, and so is what we give to others.
 * The same without VMs as image-equality.test.ts, and therefore in all formats.
 */

/** As there: folders without an entry, or from below one. */
const UNTIMED = /^n\/(gnu(\/g+)?|(long)+)$/;
const TIMEOUT_MS = 120_000;

// umoci sets owners and devices only as root.
describe.runIf(process.getuid?.() === 0)("the store's tree is what umoci unpacks", () => {
  let registry: RegistryProcess;
  let probe: GoProgram;
  let work: string;
  const trees = new Map<FixtureName, SeenTree>();
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), "msb-trees-"));
    [registry, probe] = await Promise.all([RegistryProcess.start(), buildGoProgram("tree-probe")]);
    for (const name of FIXTURES) {
      const { layout, tag } = await fixture(name);
      trees.set(name, await unpacked(`${layout}:${tag}`));
    }
  }, TIMEOUT_MS);
  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
    await probe?.[Symbol.asyncDispose]();
    await rm(work, { recursive: true, force: true });
  });

  /** @param image of an OCI layout, as `folder:tag` */
  async function unpacked(image: string): Promise<SeenTree> {
    const bundle = join(work, "bundle");
    await run("umoci", ["unpack", "--image", image, bundle]);
    const tree = await hostTree(join(bundle, "rootfs"), probe.path);
    await rm(bundle, { recursive: true });
    return tree;
  }

  const expectTree = (name: FixtureName, tree: SeenTree) => {
    expect(tree.size).toBeGreaterThan(200);
    expect(differences(trees.get(name)!, tree, UNTIMED)).toEqual({});
  };

  const copy = async (name: FixtureName, to: string, ...flags: string[]) => {
    const { layout, tag } = await fixture(name);
    await skopeo("copy", "-q", ...registry.skopeoFlags("dest"), ...flags, `oci:${layout}:${tag}`, to);
  };

  // Two readers that agree on a damaged archive would tell nothing.
  test("nasty holds what it is meant to hold", () => {
    const file = (path: string) => JSON.parse(trees.get("nasty")!.get(path)!);
    const holes = Buffer.alloc(3_000_000);
    holes.write("begins");
    for (const version of ["0.0", "1.0"]) expect(file(`n/gnu/sparse-${version}`).sha256).toBe(windows(holes));
    expect(file(`n/gnu/${"g".repeat(120)}/${"h".repeat(120)}`)).toMatchObject({ size: 13 });
    expect(Object.keys(file("n/cap").xattrs)).toEqual(["security.capability", "user.note"]);
    expect(file("n/third").same).toBe("n/first");
    expect(file("n/owned").owner).toBe("3000000:2097152");
    expect(file("n/caf\xe9-\xff").type).toBe("100000");
    expect(file("r/from-above").type).toBe("100000");
    expect(file("r/tty").device).toBe("4:524288");
    for (const gone of ["n/hidden/a", "n/opaque/below", "r/opaque-last/below", "r/whole/sub", "n/twice"])
      expect(trees.get("nasty")!.has(gone), gone).toBe(false);
  });

  test.each(FIXTURES)(
    "%s, from a registry",
    async (name) => {
      await using room = await ImageRoom.open();
      await copy(name, registry.url(`${name}:1`));
      const { digest } = await room.pull(`${registry.host}/${name}:1`);
      expectTree(name, await room.treeOf(digest));
    },
    TIMEOUT_MS,
  );

  test.each([
    [
      "in Docker's own form",
      ["--format", "v2s2", "--dest-compress"],
      /docker\.image\.rootfs\.diff\.tar\.gzip$/,
    ],
    ["with zstd", ["--dest-compress", "--dest-compress-format", "zstd"], /layer\.v1\.tar\+zstd$/],
    ["with layers as they are", [], /layer\.v1\.tar$/],
  ])("nasty, from a registry, %s", async (_, flags, mediaType) => {
    await using room = await ImageRoom.open();
    // In folders first: to a registry skopeo gives what it thinks best, or what it knows to be there.
    const [plain, other] = ["plain", "other"].map((name) => join(work, name));
    await copy("nasty", `dir:${plain}`, "--dest-decompress");
    await skopeo("copy", "-q", ...flags, `dir:${plain}`, `dir:${other}`);
    const url = registry.url("nasty:other");
    await skopeo("copy", "-q", "--preserve-digests", "--dest-tls-verify=false", `dir:${other}`, url);
    const manifest = JSON.parse(await skopeo("inspect", "--tls-verify=false", "--raw", url));
    for (const layer of manifest.layers) expect(layer.mediaType).toMatch(mediaType);
    const { digest } = await room.pull(`${registry.host}/nasty:other`);
    expectTree("nasty", await room.treeOf(digest));
  });

  test.each(["oci-archive", "docker-archive"])(
    "%s of skopeo's",
    async (format) => {
      await using room = await ImageRoom.open();
      for (const name of ["nasty", "python"] as const) {
        const file = join(work, format);
        await copy(name, `${format}:${file}:test/${name}:1`);
        const [loaded] = await loadImages(room.store, { source: createReadStream(file) });
        await rm(file);
        expect(loaded?.name).toBe(`test/${name}:1`);
        expectTree(name, await room.treeOf(`test/${name}:1`));
      }
    },
    60_000,
  );

  test("what we push, skopeo and umoci read", async () => {
    await using room = await ImageRoom.open();
    await copy("nasty", registry.url("nasty:1"));
    const name = `${registry.host}/nasty:1`;
    const image = await room.pull(name);
    const reference = `${registry.host}/pushed/nasty:2`;
    const pushed = await pushImage(room, { name, reference });
    const inspected = JSON.parse(await skopeo("inspect", "--tls-verify=false", `docker://${reference}`));
    expect(inspected).toMatchObject({ Digest: pushed.digest, Layers: { length: image.layers.length } });
    const layout = join(work, "pushed");
    await skopeo("copy", "-q", "--src-tls-verify=false", `docker://${reference}`, `oci:${layout}:x`);
    expectTree("nasty", await unpacked(`${layout}:x`));
    await rm(layout, { recursive: true });
  });

  test.each([
    ["oci", "oci-archive"],
    ["docker", "docker-archive"],
  ] as const)("what we save as %s, skopeo and umoci read", async (format, transport) => {
    await using room = await ImageRoom.open();
    await copy("nasty", registry.url("nasty:1"));
    const name = `${registry.host}/nasty:1`;
    const { digest } = await room.pull(name);
    const file = join(work, `saved-${format}`);
    await writeFile(file, await saveImages(room.store, { names: [name], format }));
    const layout = join(work, "saved");
    await skopeo("copy", "-q", `${transport}:${file}`, `oci:${layout}:x`);
    const manifest = JSON.parse(await skopeo("inspect", "--raw", `oci:${layout}:x`));
    if (format === "oci") expect(manifest.config.digest).toBe(digest);
    expectTree("nasty", await unpacked(`${layout}:x`));
    await rm(layout, { recursive: true });
    await rm(file);
  });

  test("what umoci refuses: a file with holes as GNU tar wrote them of old, by GNU tar", async () => {
    await using room = await ImageRoom.open();
    const layer = oldSparseLayer();
    const file = join(work, "old.tar");
    await writeFile(file, layer);
    const image = `${join(work, "old-layout")}:x`;
    await run("umoci", ["init", "--layout", join(work, "old-layout")]);
    await run("umoci", ["new", "--image", image]);
    await run("umoci", ["raw", "add-layer", "--image", image, file]);
    await expect(unpacked(image)).rejects.toThrow(/unknown typeflag '\\x53'/);

    const archive = join(work, "old-archive");
    await skopeo("copy", "-q", `oci:${image}`, `oci-archive:${archive}:test/old:1`);
    await loadImages(room.store, { source: createReadStream(archive) });
    const folder = join(work, "by-tar");
    await mkdir(folder);
    await run("tar", ["-xpf", file, "-C", folder]);
    const expected = await hostTree(folder, probe.path);
    expect([...expected.keys()]).toEqual(["old"]);
    expect(differences(expected, await room.treeOf("test/old:1"), /^$/)).toEqual({});
  });
});
