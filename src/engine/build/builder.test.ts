import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  type BuildRequestInput,
  buildRequest,
  type Progress,
  type SandboxError,
} from "../../contract/index.ts";
import { ImageStore, importRootfs, type StoredImage, toBytes } from "../image/index.ts";
import { buildTar, inChunks, type TestEntry } from "../image/tar/tar-builder.test-support.ts";
import { describeForTest, workspace } from "../image/workspace.test-support.ts";
import { BuildCache, Builder, type RunStep } from "./index.ts";

/** Builds with a store of its own; what a RUN step does is up to the test. */
async function bench(run: (step: RunStep, tree: Map<string, string>) => TestEntry[] | number = () => []) {
  const ws = await workspace();
  const cache = new BuildCache(join(ws.path, "build-cache"));
  const store = await ImageStore.open({
    directory: join(ws.path, "store"),
    describeDisk: describeForTest,
    otherLayers: () => cache.layers(),
  });
  const base: TestEntry[] = [
    { path: "etc/passwd", data: Buffer.from("root:x:0:0::/:/bin/sh\nuser:x:1000:1001::/:/bin/sh\n") },
    { path: "etc/group", data: Buffer.from("staff:x:50:\n") },
    { path: "usr/bin/sh", mode: 0o755, data: Buffer.from("sh") },
    { path: "bin", typeflag: "2", linkTarget: "usr/bin" },
    { path: "srv/there", data: Buffer.from("there") },
  ];
  await importRootfs(store, {
    stream: inChunks(buildTar(base)),
    name: "msb/base",
    config: { env: ["PATH=/bin"], cmd: ["base"], labels: { from: "base" } },
  });
  const steps: RunStep[] = [];
  const builder = new Builder({
    store,
    cache,
    ensureImage: (name) => store.get(name),
    async runSteps(step) {
      steps.push(step);
      const result = run(step, await contents(store, step.image));
      const exitCode = typeof result === "number" ? result : 0;
      return {
        exit: { exitCode },
        changes: async () => inChunks(buildTar(typeof result === "number" ? [] : result)),
        [Symbol.asyncDispose]: async () => {},
      };
    },
  });
  const told: Progress[] = [];
  const build = (
    dockerfile: string,
    files: TestEntry[] = [],
    request: BuildRequestInput = {},
    signal?: AbortSignal,
  ) => {
    told.length = 0;
    const context = buildTar([...files, { path: "Dockerfile", data: Buffer.from(dockerfile) }]);
    return builder.build(inChunks(context), buildRequest.parse(request), {
      onProgress: (one) => told.push(one),
      signal,
    });
  };
  return { ws, store, cache, build, steps, told, [Symbol.asyncDispose]: () => ws[Symbol.asyncDispose]() };
}

/** All files of an image, by path; directories end in a slash. */
async function contents(store: ImageStore, image: string): Promise<Map<string, string>> {
  await using tree = await store.openTree(image);
  const found = new Map<string, string>();
  const walk = async (path: string, directory: typeof tree.root): Promise<void> => {
    for (const [name, inode] of directory.children) {
      const at = path + toBytes(name).toString("utf8");
      if (inode.children !== undefined) {
        found.set(`${at}/`, `${inode.mode.toString(8)} ${inode.uid}:${inode.gid}`);
        await walk(`${at}/`, inode as typeof tree.root);
      } else if (inode.type === "file") {
        found.set(
          at,
          `${(await tree.readSmall(inode, 1e6)).toString()}|${inode.mode.toString(8)} ${inode.uid}:${inode.gid}`,
        );
      } else found.set(at, `${inode.type} ${inode.target ?? ""}`);
    }
  };
  await walk("", tree.root);
  return found;
}

const files: TestEntry[] = [
  { path: "a.txt", data: Buffer.from("A"), mode: 0o640, uid: 77 },
  { path: "b.txt", data: Buffer.from("B") },
  { path: "dir/one", data: Buffer.from("1") },
  { path: "dir/sub/two", data: Buffer.from("2"), mode: 0o755 },
  { path: "dir/link", typeflag: "2", linkTarget: "one" },
  { path: "dir", typeflag: "5", mode: 0o700 },
];

test("COPY: into, under another name, contents of folders, through the image's links", async () => {
  await using b = await bench();
  const image = await b.build(
    `FROM msb/base
WORKDIR /work
COPY a.txt .
COPY a.txt renamed
COPY *.txt texts/
COPY dir copied
COPY dir/link /bin/
COPY --chown=user:staff --chmod=600 a.txt /srv
COPY --chown=5 b.txt /new/deep/
COPY <<EOF /etc/motd
hello $PATH
EOF`,
    files,
  );
  const all = await contents(b.store, image.digest);
  const at = (path: string) => all.get(path);
  expect(at("work/")).toBe("755 0:0");
  expect(at("work/a.txt")).toBe("A|640 0:0");
  expect(at("work/renamed")).toBe("A|640 0:0");
  expect(at("work/texts/b.txt")).toBe("B|644 0:0");
  expect(at("work/copied/")).toBe("755 0:0");
  expect(at("work/copied/sub/two")).toBe("2|755 0:0");
  expect(at("work/copied/link")).toBe("symlink one");
  expect(at("usr/bin/link")).toBe("1|644 0:0"); // a link that is named itself is followed
  expect(at("srv/a.txt")).toBe("A|600 1000:50");
  expect(at("srv/there")).toBe("there|644 0:0");
  expect(at("new/")).toBe("755 5:5");
  expect(at("new/deep/b.txt")).toBe("B|644 5:5");
  expect(at("etc/motd")).toBe("hello /bin\n|644 0:0");
  expect(image.config).toMatchObject({
    workdir: "/work",
    env: ["PATH=/bin"],
    cmd: ["base"],
    labels: { from: "base" },
  });
});

test("ADD unpacks archives, by what they are", async () => {
  await using b = await bench();
  const archive = buildTar([{ path: "in/side", data: Buffer.from("tar"), uid: 9 }]);
  const image = await b.build("FROM msb/base\nADD x.bin b.txt /to/", [
    ...files,
    { path: "x.bin", data: archive },
  ]);
  const all = await contents(b.store, image.digest);
  expect(all.get("to/in/side")).toBe("tar|644 9:0");
  expect(all.get("to/b.txt")).toBe("B|644 0:0");
  const owned = await b.build("FROM msb/base\nADD --chown=user x.bin /to/", [
    { path: "x.bin", data: archive },
  ]);
  expect((await contents(b.store, owned.digest)).get("to/in/side")).toBe("tar|644 1000:1001");
  const xz = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 0]);
  await expect(b.build("FROM msb/base\nADD y.xz /to/", [{ path: "y.xz", data: xz }])).rejects.toMatchObject({
    code: "unsupported",
    details: { line: 2, column: 1 },
  });
});

test("what .dockerignore names is not there, nor what it does not make an exception of", async () => {
  await using b = await bench();
  const ignore = { path: ".dockerignore", data: Buffer.from("dir\n!dir/sub\n*.txt\n") };
  const image = await b.build("FROM msb/base\nCOPY . /all/", [...files, ignore]);
  const all = await contents(b.store, image.digest);
  expect([...all.keys()].filter((path) => path.startsWith("all/") && !path.endsWith("/")).sort()).toEqual([
    "all/.dockerignore",
    "all/Dockerfile",
    "all/dir/sub/two",
  ]);
  await expect(b.build("FROM msb/base\nCOPY a.txt /", [...files, ignore])).rejects.toMatchObject({
    message: expect.stringContaining('"a.txt" is not in the context'),
    details: { line: 2, column: 6 },
  });
});

test("a folder that is ignored but for what an exception holds is there with just that", async () => {
  await using b = await bench();
  const ignore = { path: ".dockerignore", data: Buffer.from("*\n!dir/sub/**\n") };
  const image = await b.build("FROM msb/base\nCOPY dir /named/\nCOPY . /all/\nCOPY dir/s* /glob/", [
    ...files,
    ignore,
  ]);
  const all = await contents(b.store, image.digest);
  expect([...all.keys()].filter((path) => /^(named|all|glob)\/./.test(path)).sort()).toEqual([
    "all/dir/",
    "all/dir/sub/",
    "all/dir/sub/two",
    "glob/two",
    "named/sub/",
    "named/sub/two",
  ]);
  expect(all.get("all/dir/")).toBe("700 0:0");
});

test("a pattern may match nothing, and that is said", async () => {
  await using b = await bench();
  const image = await b.build("FROM msb/base\nCOPY a.txt none* other?/* /to/\nCOPY none* /nowhere/", files);
  const all = await contents(b.store, image.digest);
  expect([...all.keys()].filter((path) => /^(to|nowhere)/.test(path)).sort()).toEqual([
    "nowhere/",
    "to/",
    "to/a.txt",
  ]);
  const warnings = b.told.flatMap(({ output }) => output ?? []);
  expect(warnings).toEqual([
    'warning: nothing in the context matches "none*" (line 2)\n',
    'warning: nothing in the context matches "other?/*" (line 2)\n',
    'warning: nothing in the context matches "none*" (line 3)\n',
  ]);
});

test("folders that are there take over the copied ones' attributes, and what is copied to does not", async () => {
  await using b = await bench();
  const image = await b.build("FROM msb/base\nCOPY --chown=7:8 rootfs /", [
    { path: "rootfs", typeflag: "5", mode: 0o700 },
    { path: "rootfs/srv", typeflag: "5", mode: 0o1777 },
    { path: "rootfs/srv/new", data: Buffer.from("n") },
    { path: "rootfs/bin", typeflag: "5", mode: 0o700 },
    { path: "rootfs/bin/tool", data: Buffer.from("t") },
  ]);
  const all = await contents(b.store, image.digest);
  expect(all.get("srv/")).toBe("1777 7:8");
  expect(all.get("srv/there")).toBe("there|644 0:0");
  expect(all.get("srv/new")).toBe("n|644 7:8");
  // A link to a folder stays a link, and the folder behind it what it is.
  expect(all.get("bin")).toBe("symlink usr/bin");
  expect(all.get("usr/bin/")).toBe("755 0:0");
  expect(all.get("usr/bin/tool")).toBe("t|644 7:8");
});

test("the working directory is made for the user, and has no slash at its end", async () => {
  await using b = await bench();
  const image = await b.build("FROM msb/base\nUSER user\nWORKDIR /a/b/\nUSER 7:8\nWORKDIR c/.\nWORKDIR /srv");
  const all = await contents(b.store, image.digest);
  expect([all.get("a/"), all.get("a/b/"), all.get("a/b/c/"), all.get("srv/")]).toEqual([
    "755 1000:1001",
    "755 1000:1001",
    "755 7:8",
    "755 0:0",
  ]);
  expect((await b.build("FROM msb/base\nWORKDIR /a/b/")).config.workdir).toBe("/a/b");
});

test("RUN has the image's environment and the stage's arguments, and its layer is what it wrote", async () => {
  await using b = await bench((step) => [
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
  await using b = await bench(() => [{ path: "made", data: Buffer.from(String(Math.random())) }]);
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

test("scripts that differ only in blanks and line ends are different steps", async () => {
  await using b = await bench(() => [{ path: "made", data: Buffer.from("m") }]);
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
  await using b = await bench((step) => [{ path: `ran-${step.argv[2]}`, data: Buffer.from("r") }]);
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
  await using b = await bench((step, tree) => {
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
  ["FROM scratch\nRUN x", { details: { line: 2, column: 1 } }, /nothing to run in/],
  ["FROM scratch\nENV A=b", { code: "invalid_argument" }, /no file at all/],
  ["FROM msb/base\nRUN false", { code: "invalid_argument", details: { line: 2, column: 1 } }, /exit code 7/],
  [
    "FROM msb/base\nRUN --mount=type=cache,target=/ x",
    { details: { line: 2, column: 5 } },
    /cannot be mounted/,
  ],
])("fails with its place, and names nothing: %s", async (dockerfile, error, message) => {
  await using b = await bench((step) => (step.argv[2] === "false" ? 7 : []));
  const failed = b.build(dockerfile, files, { tags: ["test/no"] });
  await expect(failed).rejects.toMatchObject({ ...error, message: expect.stringMatching(message) });
  await b.store.sweep({ inUse: [] });
  expect((await b.store.list()).flatMap(({ names }) => names)).toEqual(["msb/base"]);
  expect(await readdir(join(b.ws.path, "store/incoming"))).toEqual([]);
});

test("what a failed step says of the network, and a Dockerfile that is not there", async () => {
  await using b = await bench(() => 1);
  await expect(b.build("FROM msb/base\nRUN x")).rejects.toMatchObject({
    hint: expect.stringContaining("no network yet"),
  });
  await expect(b.build("FROM msb/base", [], { dockerfile: "Other" })).rejects.toMatchObject({
    code: "not_found",
  });
  await expect(b.build("FROM msb/base", [], { target: "x" })).rejects.toMatchObject({
    message: /no stage "x"/,
  });
});

test("the same inputs and SOURCE_DATE_EPOCH give the same image", async () => {
  const build = async (): Promise<StoredImage> => {
    await using b = await bench(() => [{ path: "made", data: Buffer.from("m") }]);
    return await b.build("FROM msb/base\nCOPY a.txt /\nRUN make", files, {
      buildArgs: { SOURCE_DATE_EPOCH: "1700000000" },
    });
  };
  const [one, two] = [await build(), await build()];
  expect(one.digest).toBe(two.digest);
  expect(one.oci.created).toBe("2023-11-14T22:13:20.000Z");
});

test("the time that is asked for also holds for what was cached before", async () => {
  await using b = await bench(() => [{ path: "made", data: Buffer.from("m") }]);
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
  await using b = await bench(() => {
    stop.abort();
    return [];
  });
  await expect(b.build("FROM msb/base\nRUN a\nRUN b", [], {}, stop.signal)).rejects.toMatchObject({
    code: "cancelled",
  });
  expect(b.steps).toHaveLength(1);
});
