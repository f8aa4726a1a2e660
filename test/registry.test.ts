import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Image, Sandbox } from "../src/sdk/index.ts";
import { buildTar } from "../src/tar/tar-builder.test-support.ts";
import { type FixtureName, fixture } from "./images/fixtures.ts";
import { RegistryProcess } from "./images/registry-process.ts";
import { run } from "./images/tools.ts";
import { BASE_IMAGE, ended, SandboxDriver, until } from "./sandbox-driver.ts";

/** Docker's own registry, real tools beside ours, and what users type. */

const USER = { name: "somebody", password: "pass:word" };

let driver: SandboxDriver;
let open: RegistryProcess;
let closed: RegistryProcess;
beforeAll(async () => {
  [open, closed] = await Promise.all([
    RegistryProcess.start(),
    RegistryProcess.start({ user: USER, tls: true }),
  ]);
  driver = await SandboxDriver.open("registry");
  const { layout, tag } = await fixture("busybox");
  await run("skopeo", [
    "copy",
    "--quiet",
    "--dest-tls-verify=false",
    `oci:${layout}:${tag}`,
    `docker://${open.host}/busybox:1`,
  ]);
});
afterAll(async () => {
  await driver?.[Symbol.asyncDispose]();
  await open?.[Symbol.asyncDispose]();
  await closed?.[Symbol.asyncDispose]();
});

async function msb(args: string[], stdin = "") {
  const { code, stdout, stderr } = await driver.msb(args, { stdin });
  expect({ code, stderr }, args.join(" ")).toMatchObject({ code: 0 });
  return stdout.trimEnd();
}

/** A copy of a test image with one file more, in a layer of its own. Returns it as skopeo names it. */
async function withAnotherLayer(name: FixtureName, path: string, contents: string): Promise<string> {
  const { layout, tag } = await fixture(name);
  const copy = join(driver.home, "another");
  await cp(layout, copy, { recursive: true });
  const tar = join(driver.home, "another.tar");
  await writeFile(tar, buildTar([{ path, data: Buffer.from(contents) }]));
  await run("umoci", ["raw", "add-layer", "--image", `${copy}:${tag}`, tar]);
  return `oci:${copy}:${tag}`;
}

/** A `msb run` is over a moment before its sandbox is gone, and until then the image is in use. */
async function remove(name: string): Promise<void> {
  const { connection } = driver;
  await until(async () => (await Sandbox.list({ connection })).length === 0, "no sandbox stands on it");
  await Image.remove(name, { connection }).catch(() => {});
}

test("msb run fetches an image that is not here, by tag and by digest", async () => {
  expect(await msb(["run", `${open.host}/busybox:1`, "--", "sh", "-c", "echo $FROM"])).toBe("umoci");
  const [image] = (await Image.list({ connection: driver.connection })).filter(({ name }) =>
    name.includes("busybox"),
  );
  await remove(image!.name);
  expect(
    await msb(["run", `${open.host}/busybox@${image!.manifestDigest}`, "--", "cat", "/etc/os-release"]),
  ).toContain("busybox");
  const { code, stderr } = await driver.msb([
    "run",
    "--pull",
    "never",
    `${open.host}/busybox:2`,
    "--",
    "true",
  ]);
  expect([code, stderr]).toEqual([125, expect.stringContaining("there is no image")]);
  const missing = await driver.msb(["run", `${open.host}/busybox:2`, "--", "true"]);
  expect([missing.code, missing.stderr]).toEqual([125, expect.stringContaining("does not have it")]);
});

test("a registry that wants a name and TLS: unknown authority, no login, wrong password, and then it works", async () => {
  const settings = join(driver.home, "images.json");
  const before = JSON.parse(await readFile(settings, "utf8"));
  const reference = `${closed.host}/made:1`;
  const fails = async (args: string[], message: RegExp, stdin = "") => {
    const { code, stderr } = await driver.msb(args, { stdin });
    expect([code === 0, stderr]).toEqual([false, expect.stringMatching(message)]);
  };
  await msb(["tag", BASE_IMAGE, reference]);
  await fails(["push", reference], /certificate is not trusted/);
  await writeFile(
    settings,
    JSON.stringify({ registries: { ...before.registries, [closed.host]: { ca: closed.ca } } }),
  );
  await fails(["push", reference], /msb login/);
  await fails(["login", "-u", USER.name, "--password-stdin", closed.host], /does not accept/, "wrong");
  await msb(["login", "-u", USER.name, "--password-stdin", closed.host], USER.password);
  await msb(["push", reference]);
  const { manifestDigest } = (await Image.list({ connection: driver.connection })).find(
    ({ name }) => name === reference,
  )!;
  await msb(["rmi", reference]);
  await msb(["pull", "--digest", manifestDigest!, reference]);
  await fails(["pull", "--digest", `sha256:${"0".repeat(64)}`, reference], /is not sha256:/);
  expect(await msb(["run", reference, "--", "echo", "it runs"])).toBe("it runs");
  // Others read what we have pushed.
  const inspected: string = await run("skopeo", [
    "inspect",
    "--creds",
    `${USER.name}:${USER.password}`,
    "--tls-verify=false",
    `docker://${reference}`,
  ]);
  expect(JSON.parse(inspected)).toMatchObject({ Digest: manifestDigest, Os: "linux" });
  await msb(["logout", closed.host]);
  await msb(["rmi", reference]);
  await fails(["pull", reference], /msb login/);
  await writeFile(settings, JSON.stringify(before));
});

describe("what others read and write", () => {
  test.each(["oci", "docker"])(
    "msb save --format %s is read by skopeo and by msb load", // that trees are the same: image-tree.test.ts
    async (format) => {
      const file = join(driver.home, `saved-${format}.tar`);
      const layout = join(driver.home, `layout-${format}`);
      await msb(["save", BASE_IMAGE, "--format", format, "-o", file]);
      const from = format === "oci" ? `oci-archive:${file}` : `docker-archive:${file}`;
      await run("skopeo", ["copy", "--quiet", from, `oci:${layout}:x`]);
      const stat: string = await run("umoci", ["stat", "--image", `${layout}:x`, "--json"]);
      expect(JSON.parse(stat).history).toHaveLength(1);
      await msb(["rmi", BASE_IMAGE]);
      expect(await msb(["load", "-i", file])).toContain(BASE_IMAGE);
      expect(await msb(["run", BASE_IMAGE, "--", "echo", "loaded"])).toBe("loaded");
      await rm(file);
      await rm(layout, { recursive: true });
    },
  );
});

test("an image in use is not removed, and says by whom; one of its names may go", async () => {
  const { connection } = driver;
  const reference = `${open.host}/busybox:1`;
  await using sandbox = await driver.create({ image: reference, name: "user-of-it" });
  const { imageDigest } = sandbox.info;
  await Image.tag(reference, "test/other", { connection });
  await Image.remove("test/other", { connection });
  const { code, stderr } = await driver.msb(["rmi", imageDigest]);
  expect([code === 0, stderr]).toEqual([false, expect.stringMatching(/in use by user-of-it/)]);
  await expect(Image.remove(imageDigest, { connection })).rejects.toMatchObject({
    code: "invalid_state",
    details: { sandboxes: ["user-of-it"] },
  });
  expect((await sandbox.exec("true")).exitCode).toBe(0);
});

describe("a larger image", () => {
  let reference: string;
  beforeAll(async () => {
    const { layout, tag } = await fixture("python");
    reference = `${open.host}/python:1`;
    await run("skopeo", [
      "copy",
      "--quiet",
      "--dest-tls-verify=false",
      `oci:${layout}:${tag}`,
      `docker://${reference}`,
    ]);
  }, 120_000);

  const blobs = () => driver.files("images/blobs");

  test("pulled twice at once, beside prunes: once fetched, and whole", async () => {
    const { connection } = driver;
    open.requests.length = 0;
    let pruning = true;
    const prunes = (async () => {
      while (pruning) await Image.prune({ connection });
    })();
    const [a, b] = await Promise.all([
      Image.pull(reference, { connection }),
      Image.pull(reference, { connection }),
    ]);
    pruning = false;
    await prunes;
    expect(a.digest).toBe(b.digest);
    const layers = open.requests
      .filter(({ path, bytes }) => path.includes("/blobs/") && bytes > 10_000)
      .map(({ path }) => path);
    expect(layers.length).toBe(new Set(layers).size);
    expect(await msb(["run", reference, "--", "python3", "/opt/app/main.py"])).toMatch(
      /^from the application/,
    );
  }, 120_000);

  test("the daemon killed in the middle of a pull: nothing half-made is left, and the pull works again", async () => {
    const { connection } = driver;
    await remove(reference);
    await Image.prune({ connection });
    const before = await blobs();
    const pulling = driver.startMsb(["pull", reference]);
    const finished = ended(pulling);
    await until(async () => (await driver.files("images/incoming")).length > 0, "the pull is under way");
    await driver.killDaemon();
    expect((await finished).code).not.toBe(0);
    await expect(Image.inspect(reference, { connection })).rejects.toMatchObject({ code: "not_found" });
    expect(await driver.files("images/incoming")).toEqual([]);
    expect(await blobs()).toEqual(before);
    await Image.pull(reference, { connection });
    expect(await msb(["run", reference])).toMatch(/^from the application 1000/);
  }, 120_000);

  test("what shares its base is fetched and stored as far as it is new", async () => {
    const { connection } = driver;
    await Image.pull(reference, { connection });
    const second = `${open.host}/python:2`;
    const layout = await withAnotherLayer("python", "opt/app/new", "only this is new");
    await run("skopeo", ["copy", "--quiet", "--dest-tls-verify=false", layout, `docker://${second}`]);
    const layersBefore = await blobs();
    const { totalBytes: bytesBefore } = await Image.usage({ connection });
    open.requests.length = 0;
    await Image.pull(second, { connection });
    const [lower, upper] = await Promise.all(
      [reference, second].map((name) => Image.inspect(name, { connection })),
    );
    expect(upper!.layers.slice(0, -1)).toEqual(lower!.layers);
    const fetched = () =>
      open.requests.filter(({ method, path }) => method === "GET" && path.includes("/blobs/"));
    // Its configuration and its own layer. The access log may be a moment later than the answer.
    await until(() => fetched().length >= 2, "the registry has told what it was asked");
    expect(fetched().map(({ bytes }) => bytes < 10_000)).toEqual([true, true]);
    expect((await blobs()).length).toBe(layersBefore.length + 1);
    const { totalBytes } = await Image.usage({ connection });
    expect(totalBytes - bytesBefore).toBeLessThan(8 * 2 ** 20);
    expect(await msb(["run", second, "--", "cat", "/opt/app/new"])).toBe("only this is new");
  }, 120_000);

  test("prune leaves what a sandbox stands on, and says what else it frees", async () => {
    const { connection } = driver;
    await Image.pull(reference, { connection });
    await using sandbox = await Sandbox.create({ image: reference, connection });
    expect((await sandbox.exec("true")).exitCode).toBe(0);
    await Image.tag(BASE_IMAGE, "test/unused", { connection });
    const { totalBytes: before, images } = await Image.usage({ connection });
    expect(images.bytes).toBeGreaterThan(200_000_000);
    const report = await Image.prune({ connection, all: true });
    expect(report.untagged).not.toContain(reference);
    expect(report.untagged).toContain("test/unused");
    expect(report.freedBytes).toBeGreaterThan(0);
    const { totalBytes: after } = await Image.usage({ connection });
    expect(before - after).toBe(report.freedBytes);
    expect(await Image.inspect(reference, { connection })).toMatchObject({ sandboxes: [sandbox.name] });
  }, 120_000);
});
