import { execFile } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Image } from "../src/sdk/index.ts";
import { buildGoProgram, type GoProgram } from "./go-program.ts";
import { FIXTURES, type FixtureName, fixture } from "./images/fixtures.ts";
import { RegistryProcess } from "./images/registry-process.ts";
import { differences, guestTree, hostTree, type SeenTree } from "./images/tree.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/**
 * The tree that a guest sees of an image is what umoci, the reference tool, unpacks of it: names, types, modes, owners, times,
 * attributes, contents, and which names are one file.
 */

const run = promisify(execFile);
const TIMEOUT_MS = 240_000;

/**
 * Folders that no entry of a layer describes, or that were made on the way to one: umoci leaves them the time at which it unpacked,
 * we give them the beginning of time, or what an entry of a lower layer says. Their times are not compared.
 */
const UNTIMED = /^n\/(gnu(\/g+)?|(long)+)$/;

// umoci sets owners and devices only as root.
describe.runIf(process.getuid?.() === 0)("the guest sees what umoci unpacks", () => {
  let driver: SandboxDriver;
  let registry: RegistryProcess;
  let probe: GoProgram;
  let work: string;
  beforeAll(async () => {
    [registry, probe, work] = await Promise.all([
      RegistryProcess.start(),
      buildGoProgram("tree-probe"),
      mkdtemp(join(tmpdir(), "msb-equality-")),
    ]);
    driver = await SandboxDriver.open("equality", { image: false });
  });
  afterAll(async () => {
    await driver?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
    await probe?.[Symbol.asyncDispose]();
    if (work !== undefined) await rm(work, { recursive: true, force: true });
  });

  async function unpacked(name: FixtureName): Promise<SeenTree> {
    const { layout, tag } = await fixture(name);
    const bundle = join(work, name);
    await run("umoci", ["unpack", "--image", `${layout}:${tag}`, bundle]);
    const tree = await hostTree(join(bundle, "rootfs"), probe.path);
    await rm(bundle, { recursive: true });
    return tree;
  }

  async function seenOf(image: string): Promise<SeenTree> {
    await using sandbox = await driver.create({ image, pull: "never" });
    return await guestTree(sandbox, probe.path);
  }

  /** Copies the image with skopeo, from the fixture's layout. */
  async function skopeo(name: FixtureName, to: string): Promise<void> {
    const { layout, tag } = await fixture(name);
    await run("skopeo", ["copy", "--quiet", "--dest-tls-verify=false", `oci:${layout}:${tag}`, to]);
  }

  test.each(FIXTURES)(
    "%s, pulled from a registry",
    async (name) => {
      const expected = await unpacked(name);
      expect(expected.size).toBeGreaterThan(200);
      const reference = `${registry.host}/${name}:1`;
      await skopeo(name, `docker://${reference}`);
      await Image.pull(reference, { connection: driver.connection });
      expect(differences(expected, await seenOf(reference), UNTIMED)).toEqual({});
    },
    TIMEOUT_MS,
  );

  test("nasty, loaded from an OCI archive and from what docker save writes", async () => {
    const { connection } = driver;
    const expected = await unpacked("nasty");
    const digests = new Set<string>();
    for (const format of ["oci-archive", "docker-archive"]) {
      const file = join(work, format);
      await skopeo("nasty", `${format}:${file}:test/${format}:1`);
      const [loaded] = await Image.load(createReadStream(file), { connection });
      expect(loaded?.name).toBe(`test/${format}:1`);
      digests.add(loaded!.digest);
    }
    // An image is known by its configuration: both are the same one.
    expect(digests.size).toBe(1);
    expect(differences(expected, await seenOf("test/docker-archive:1"), UNTIMED)).toEqual({});
  });
});
