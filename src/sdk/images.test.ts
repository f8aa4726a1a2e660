import { execFileSync } from "node:child_process";
import { createReadStream, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Connection } from "./index.ts";
import { Image, type LayerProgress, Registry, Sandbox } from "./index.ts";
import { TestHome } from "./testing/test-home.ts";

let home: TestHome;
let connection: Connection;

beforeAll(() => {
  home = new TestHome();
  connection = home.connect();
});
afterAll(() => home[Symbol.asyncDispose]());

const listed = (tar: Buffer) =>
  execFileSync("tar", ["-tf", "-"], { input: tar, encoding: "utf8" }).trim().split("\n");

test("pull, with the progress of each layer", async () => {
  const seen = new Map<string, LayerProgress>();
  const pulled = await Image.pull("registry.test/slow", {
    connection,
    onProgress: ({ layer }) => layer && seen.set(layer.digest, layer),
  });
  expect(pulled).toMatchObject({
    name: "registry.test/slow",
    manifestDigest: expect.stringMatching(/^sha256:/),
  });
  expect([...seen.values()].map(({ phase }) => phase).sort()).toEqual(["done", "done", "done", "exists"]);
  const arm = await Image.pull("registry.test/app", {
    platform: "linux/arm64",
    digest: (await Image.pull("registry.test/app", { connection })).manifestDigest,
    connection,
  });
  expect(await Image.inspect(arm.name, { connection })).toMatchObject({
    platform: { os: "linux", architecture: "arm64" },
  });
  await expect(Image.pull("registry.test/app", { digest: "sha256:0", connection })).rejects.toMatchObject({
    code: "invalid_argument",
  });
  await expect(Image.pull("registry.test/none", { connection })).rejects.toMatchObject({ code: "not_found" });
});

test("a pull that is cancelled ends", async () => {
  const abort = new AbortController();
  const pulling = Image.pull("registry.test/slow", {
    signal: abort.signal,
    onProgress: () => abort.abort(),
    connection,
  });
  await expect(pulling).rejects.toMatchObject({ code: "cancelled" });
});

test("push, tag, history, usage, prune, remove", async () => {
  await Image.tag("msb/base", "registry.test/mine:1", { connection });
  expect(await Image.push("registry.test/mine:1", { connection })).toMatchObject({
    reference: "registry.test/mine:1",
  });
  expect(await Image.push("msb/base", { reference: "registry.test/other", connection })).toMatchObject({
    reference: "registry.test/other:latest",
  });
  expect((await Image.history("msb/base", { connection })).at(-1)).toMatchObject({ createdBy: "COPY . ." });
  await Image.tag("msb/base", "prune/one", { connection });
  expect(await Image.usage({ connection })).toMatchObject({ buildCache: { count: 2 } });
  expect(await Image.prune({ all: true, connection })).toMatchObject({ untagged: ["prune/one"] });
  await Sandbox.create({ image: "registry.test/mine:1", name: "user", connection });
  await expect(Image.remove("registry.test/mine:1", { connection })).rejects.toMatchObject({
    code: "invalid_state",
    details: { sandboxes: ["user"] },
  });
});

test("save to a file or a stream, and load from either", async () => {
  const file = join(home.path, "images.tar");
  await Image.save(["msb/base", "test/nothing"], { format: "docker", to: file, connection });
  expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ format: "docker" });
  const streamed = await buffer(await Image.save("msb/base", { connection }));
  expect(JSON.parse(streamed.toString())).toMatchObject({ format: "oci", images: [{ name: "msb/base" }] });
  expect(await Image.load(file, { connection })).toMatchObject([
    { name: "msb/base" },
    { name: "test/nothing" },
  ]);
  expect(await Image.load(Readable.from([streamed]), { connection })).toHaveLength(1);
  await expect(Image.load(Readable.from(["{"]), { connection })).rejects.toMatchObject({
    code: "invalid_argument",
  });
});

test("an archive that breaks off leaves no file, and fails a stream", async () => {
  const file = join(home.path, "half.tar");
  const broken = { code: "unavailable", message: "could not save test/slow: the daemon broke off half-way" };
  await expect(Image.save("test/slow", { to: file, connection })).rejects.toMatchObject(broken);
  expect(readdirSync(home.path).filter((name) => name.startsWith("half"))).toEqual([]);
  await expect(buffer(await Image.save("test/slow", { connection }))).rejects.toMatchObject(broken);
  await expect(Image.save("no/such", { to: file, connection })).rejects.toMatchObject({ code: "not_found" });
  expect(existsSync(file)).toBe(false);
});

test("export an image and a sandbox", async () => {
  expect(await buffer(await Image.export("msb/base", { connection }))).toHaveLength(4096);
  const box = await Sandbox.create({ image: "msb/base", connection });
  const file = join(home.path, "box.tar");
  await box.export({ to: file });
  expect(readFileSync(file)).toHaveLength(4096);
  expect(await buffer(await box.export())).toHaveLength(4096);
});

test("import a folder", async () => {
  const folder = join(home.path, "root");
  mkdirSync(join(folder, "etc"), { recursive: true });
  writeFileSync(join(folder, "etc/hello"), "hello");
  await Image.import("my/folder", folder, { connection });
  const tar = await buffer(await Image.export("my/folder", { connection }));
  expect(listed(tar)).toEqual(["./", "./etc/", "./etc/hello"]);
  await expect(Image.import("x", join(home.path, "nothing"), { connection })).rejects.toMatchObject({
    code: "ENOENT",
  });
});

test("a stream that fails fails the import with its own error", async () => {
  const failing = Readable.from(
    (async function* () {
      yield Buffer.alloc(1000);
      throw new Error("the disk is gone");
    })(),
  );
  await expect(Image.import("x", failing, { connection })).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining("the disk is gone"),
  });
});

test("what is refused early is told, however much was to be sent", async () => {
  const file = join(home.path, "large");
  writeFileSync(file, Buffer.alloc(32 * 1024 * 1024));
  const source = createReadStream(file);
  await expect(Image.import("n".repeat(513), source, { connection })).rejects.toMatchObject({
    code: "invalid_argument",
    details: { field: "name" },
  });
  expect(source.destroyed).toBe(true);
});

test("build: the context without what is ignored, the Dockerfile and what is asked", async () => {
  const folder = join(home.path, "context");
  mkdirSync(folder);
  writeFileSync(join(folder, "Dockerfile"), "FROM msb/base\nRUN make\n");
  writeFileSync(join(folder, ".dockerignore"), "*\n!kept\n");
  for (const name of ["kept", "left"]) writeFileSync(join(folder, name), name);
  const output: string[] = [];
  const built = await Image.build({
    context: folder,
    tags: ["my/app", "my/app:1"],
    buildArgs: { VERSION: "1" },
    onProgress: (progress) => output.push(progress.output ?? progress.task),
    connection,
  });
  expect(built.name).toBe("my/app");
  expect(output).toEqual(["[1/2] FROM msb/base", "[2/2] RUN make", "output of make\n"]);
  const tar = await buffer(await Image.export("my/app:1", { connection }));
  expect(listed(tar)).toEqual(["./", "./.dockerignore", "./Dockerfile", "./kept"]);
  const again = await Image.build({
    context: Readable.from([tar]),
    dockerfile: "Dockerfile",
    tags: ["my/again"],
    connection,
  });
  expect(again.digest).toBe(built.digest);
  await expect(
    Image.build({ context: folder, buildArgs: { LONG: "x".repeat(65_536) }, connection }),
  ).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining("65536 are allowed"),
  });
});

test("login and logout", async () => {
  const credentials = { registry: "registry.test", username: "ann", connection };
  await Registry.login({ ...credentials, password: "secret" });
  await Registry.logout("registry.test", { connection });
  await expect(Registry.logout("registry.test", { connection })).rejects.toMatchObject({ code: "not_found" });
  await expect(Registry.login({ ...credentials, password: "guess" })).rejects.toMatchObject({
    code: "unauthenticated",
  });
});
