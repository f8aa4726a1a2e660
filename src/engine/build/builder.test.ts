import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { BuildRequestInput, SandboxError } from "../../contract/index.ts";
import { buildTar, inChunks, type TestEntry } from "../../tar/tar-builder.test-support.ts";
import { importRootfs, type StoredImage } from "../image/index.ts";
import { buildBench, contents, files } from "./testing/build-bench.ts";

test("RUN has the image's environment and the stage's arguments, and its layer is what it wrote", async () => {
  await using b = await buildBench((step) => [
    { path: "made", data: Buffer.from(step.env.V ?? "none") },
    { path: "srv/.wh.there" },
  ]);
  const image = await b.build(
    `ARG V=global
FROM msb/base
ARG V
ARG W=\${V}-w
ENV W2=\${W}
SHELL ["/bin/sh", "-ec"]
RUN echo "$W"
USER user`,
    [],
    { buildArgs: { NONE: "x" }, labels: { mine: "1" }, tags: ["test/app:1", "test/app:2"], memoryMiB: 512 },
  );
  expect(b.steps[0]).toMatchObject({
    argv: ["/bin/sh", "-ec", 'echo "$W"'],
    env: { V: "global", W: "global-w" },
    memoryMiB: 512,
  });
  const all = await contents(b.store, image.digest);
  expect([all.get("made"), all.get("srv/there")]).toEqual(["global|644 0:0", undefined]);
  expect(image).toMatchObject({
    names: ["test/app:1", "test/app:2"],
    config: { env: ["PATH=/bin", "W2=global-w"], user: "user", labels: { from: "base", mine: "1" } },
  });
  expect(image.oci.history?.at(-1)).toMatchObject({ created_by: "USER user", empty_layer: true });
  expect(b.told.some(({ output }) => output?.includes("NONE"))).toBe(true);
  expect((await b.store.list()).flatMap(({ names }) => names).sort()).toEqual([
    "msb/base",
    "test/app:1",
    "test/app:2",
  ]);
});

test("layers are cached by all that leads to them, and by nothing else", async () => {
  await using b = await buildBench(() => [{ path: "made", data: Buffer.from(String(Math.random())) }]);
  const dockerfile = "FROM msb/base\nARG V=1\nCOPY a.txt /\nRUN make\nCMD x";
  const build = async (
    request: BuildRequestInput = {},
    change: Partial<TestEntry> = {},
    text = dockerfile,
  ) => {
    b.steps.length = 0;
    const image = await b.build(
      text,
      [{ path: "a.txt", data: Buffer.from("A"), mode: 0o644, ...change }],
      request,
    );
    return { digest: image.digest, ran: b.steps.length };
  };
  const first = await build();
  expect(first.ran).toBe(1);
  expect(await build()).toEqual({ ...first, ran: 0 });
  expect(b.told.map(({ task }) => task)).toContain("[4/5] CACHED RUN make");
  expect(await build({}, { mtime: "999.5", uid: 12 })).toEqual({ ...first, ran: 0 });
  expect((await build({}, { mode: 0o600 })).ran).toBe(1);
  expect((await build({}, { data: Buffer.from("other") })).ran).toBe(1);
  expect((await build({ buildArgs: { V: "2" } })).ran).toBe(1);
  expect((await build({}, {}, dockerfile.replace("RUN make", "RUN  make all"))).ran).toBe(1);
  expect((await build({}, {}, dockerfile.replace("CMD x", "CMD y"))).ran).toBe(0);
  expect((await build({ noCache: true })).ran).toBe(1);
  // Layers that only the cache needs stay, until it is cleared.
  await b.store.sweep({ inUse: [] });
  expect((await build()).ran).toBe(0);
  expect(await b.cache.clear()).toBeGreaterThan(3);
  await b.store.sweep({ inUse: [] });
  expect((await build()).ran).toBe(1);
});

test("a context leaves the store with its build, unless an image has it as a layer", async () => {
  await using b = await buildBench(() => []);
  const big = { path: "big", data: Buffer.alloc(50_000, 1) };
  const image = await b.build("FROM scratch\nCOPY big /other", [big]);
  await expect(b.build("FROM scratch\nCOPY none /", [big])).rejects.toMatchObject({
    code: "invalid_argument",
  });
  await expect(b.build("NONSENSE", [big])).rejects.toMatchObject({ code: "invalid_argument" });
  const layers = (await readdir(join(b.ws.path, "store/trees"))).sort();
  expect(await b.store.sweep({ inUse: [image.digest] })).toMatchObject({ layers: 0, freedBytes: 0 });
  expect((await readdir(join(b.ws.path, "store/trees"))).sort()).toEqual(layers);
  const dockerfile = "FROM scratch\nCOPY big /other";
  const context = buildTar([big, { path: "Dockerfile", data: Buffer.from(dockerfile) }]);
  await importRootfs(b.store, { stream: inChunks(context), name: "test/context" });
  await b.build(dockerfile, [big]);
  expect((await contents(b.store, "test/context")).has("big")).toBe(true);
});

test("scripts that differ only in blanks and line ends are different steps", async () => {
  await using b = await buildBench(() => [{ path: "made", data: Buffer.from("m") }]);
  const ran = async (script: string) => {
    b.steps.length = 0;
    await b.build(`FROM msb/base\nRUN <<EOF\n${script}\nEOF`);
    return b.steps.map(({ argv }) => argv.at(-1));
  };
  expect(await ran("if a:\n  b\n  c")).toEqual(["if a:\n  b\n  c\n"]);
  expect(await ran("if a:\n  b\nc")).toEqual(["if a:\n  b\nc\n"]);
  expect(await ran("if a: ; b ; c")).toEqual(["if a: ; b ; c\n"]);
  expect(await ran("if a:\n  b\nc")).toEqual([]);
});

test("stages: only what the target needs, by name and by number; COPY --from a stage and an image", async () => {
  await using b = await buildBench((step) => [{ path: `ran-${step.argv[2]}`, data: Buffer.from("r") }]);
  const dockerfile = `FROM msb/base AS one
RUN one
FROM msb/base AS unused
RUN unused
FROM one AS two
RUN two
FROM scratch
COPY --from=two ran-two /
COPY --from=0 /ran-one /first
COPY --from=msb/base /srv/there /`;
  const image = await b.build(dockerfile);
  expect(b.steps.map(({ argv }) => argv[2])).toEqual(["one", "two"]);
  expect([...(await contents(b.store, image.digest)).keys()].sort()).toEqual(["first", "ran-two", "there"]);
  b.steps.length = 0;
  const target = await b.build(dockerfile, [], { target: "unused" });
  expect(b.steps.map(({ argv }) => argv[2])).toEqual(["unused"]);
  expect((await contents(b.store, target.digest)).get("ran-unused")).toBe("r|644 0:0");
});

test("a cache mount keeps what a step leaves there, and nothing of it is in the image", async () => {
  await using b = await buildBench((step, tree) => {
    const count = Number(tree.get("root/.cache/count")?.split("|")[0] ?? 0) + 1;
    return [
      { path: "root", typeflag: "5", mode: 0o755 },
      { path: "root/.cache", typeflag: "5", mode: 0o755 },
      { path: "root/.cache/count", data: Buffer.from(String(count)) },
      { path: "count", data: Buffer.from(`${count} ${step.argv[2]}`) },
    ];
  });
  for (let i = 1; i <= 12; i++) {
    const image = await b.build(`FROM msb/base\nRUN --mount=type=cache,target=/root/.cache step ${i}`);
    const all = await contents(b.store, image.digest);
    expect(all.get("count")).toBe(`${i} step ${i}|644 0:0`);
    expect([...all.keys()].filter((path) => path.startsWith("root/.cache"))).toEqual([]);
  }
  const [mount] = await readdir(join(b.ws.path, "build-cache/mounts"));
  expect(mount).toBeDefined();
});

test.each<[string, Partial<SandboxError>, RegExp]>([
  ["FROM msb/none", { code: "not_found" }, /msb\/none/],
  ["FROM $NONE", { code: "unsupported" }, /empty/],
  [
    "RUN x\nFROM msb/base",
    { code: "invalid_argument", details: { line: 1, column: 1 } },
    /before the first FROM/,
  ],
  ["FROM msb/base AS a\nFROM msb/base AS a", { details: { line: 2, column: 1 } }, /already/],
  ["FROM msb/base\nCOPY --from=2 a b", { details: { line: 2, column: 6 } }, /earlier stage/],
  ["FROM msb/base\nCOPY none /", { details: { line: 2, column: 6 } }, /not in the context/],
  [
    "FROM msb/base\nARG URL=https://host.test/x\nADD $URL /",
    { code: "unsupported", details: { line: 3, column: 5 } },
    /cannot fetch/,
  ],
  ["FROM msb/base\nUSER nobody\nWORKDIR /new", { details: { line: 3, column: 1 } }, /no user "nobody"/],
  ["FROM msb/base\nCOPY [a-.txt /", { details: { line: 2, column: 6 } }, /malformed/],
  ["FROM msb/base\nCOPY a.txt b.txt /x", { details: { line: 2, column: 1 } }, /several files/],
  ["FROM msb/base\nCOPY a.txt /srv/there/x", { details: { line: 2, column: 1 } }, /take the place of a file/],
  ["FROM msb/base\nCOPY --chown=nobody a.txt /", { details: { line: 2, column: 6 } }, /no user "nobody"/],
  [
    "FROM msb/base\nCOPY --chmod=u+x a.txt /",
    { code: "unsupported", details: { line: 2, column: 6 } },
    /octal|--chmod/,
  ],
  ["FROM msb/base\nEXPOSE x", { details: { line: 2, column: 1 } }, /no port/],
  ["FROM msb/base\nSTOPSIGNAL SIGNONE", { details: { line: 2, column: 1 } }, /'SIGNONE' is no signal/],
  ["FROM scratch\nRUN x", { details: { line: 2, column: 1 } }, /nothing to run in/],
  ["FROM scratch\nENV A=b", { code: "invalid_argument" }, /no file at all/],
  ["FROM msb/base\nRUN false", { code: "invalid_argument", details: { line: 2, column: 1 } }, /exit code 7/],
  [
    "FROM msb/base\nRUN --mount=type=cache,target=/ x",
    { details: { line: 2, column: 5 } },
    /cannot be mounted/,
  ],
])("fails with its place, and names nothing: %s", async (dockerfile, error, message) => {
  await using b = await buildBench((step) => (step.argv[2] === "false" ? 7 : []));
  const failed = b.build(dockerfile, files, { tags: ["test/no"] });
  await expect(failed).rejects.toMatchObject({ ...error, message: expect.stringMatching(message) });
  await b.store.sweep({ inUse: [] });
  expect((await b.store.list()).flatMap(({ names }) => names)).toEqual(["msb/base"]);
  expect(await readdir(join(b.ws.path, "store/incoming"))).toEqual([]);
});

test("what a failed step says of the network, and a Dockerfile that is not there", async () => {
  const asked: string[] = [];
  await using b = await buildBench(({ network }) => {
    asked.push(network.scope);
    return 1;
  });
  await expect(b.build("FROM msb/base\nRUN x")).rejects.toMatchObject({ hint: undefined });
  const none = { hint: expect.stringContaining("had no network") };
  await expect(b.build("FROM msb/base\nRUN --network=none x")).rejects.toMatchObject(none);
  const network = { scope: "none" } as const;
  await expect(b.build("FROM msb/base\nRUN x", [], { network })).rejects.toMatchObject(none);
  expect(asked).toEqual(["public", "none", "none"]);
  await expect(b.build("FROM msb/base", [], { dockerfile: "Other" })).rejects.toMatchObject({
    code: "not_found",
  });
  await expect(b.build("FROM msb/base", [], { target: "x" })).rejects.toMatchObject({
    message: expect.stringMatching(/no stage "x"/),
  });
});

test("the same inputs and SOURCE_DATE_EPOCH give the same image", async () => {
  const build = async (): Promise<StoredImage> => {
    await using b = await buildBench(() => [{ path: "made", data: Buffer.from("m") }]);
    return await b.build("FROM msb/base\nCOPY a.txt /\nRUN make", files, {
      buildArgs: { SOURCE_DATE_EPOCH: "1700000000" },
    });
  };
  const [one, two] = [await build(), await build()];
  expect(one.digest).toBe(two.digest);
  expect(one.oci.created).toBe("2023-11-14T22:13:20.000Z");
});

test("the time that is asked for also holds for what was cached before", async () => {
  await using b = await buildBench(() => [{ path: "made", data: Buffer.from("m") }]);
  await b.build("FROM msb/base\nRUN make");
  const { oci } = await b.build("FROM msb/base\nRUN make", [], {
    buildArgs: { SOURCE_DATE_EPOCH: "1700000000" },
  });
  expect(b.steps).toHaveLength(1);
  expect(oci.created).toBe("2023-11-14T22:13:20.000Z");
  expect(oci.history?.at(-1)).toMatchObject({ created: "2023-11-14T22:13:20.000Z" });
});

test("a build that was cancelled stops at the next step", async () => {
  const stop = new AbortController();
  await using b = await buildBench(() => {
    stop.abort();
    return [];
  });
  await expect(b.build("FROM msb/base\nRUN a\nRUN b", [], {}, stop.signal)).rejects.toMatchObject({
    code: "cancelled",
  });
  expect(b.steps).toHaveLength(1);
});
