import { join } from "node:path";
import { type BuildRequestInput, buildRequest, type Progress } from "../../../contract/index.ts";
import { toBytes } from "../../../tar/index.ts";
import { buildTar, inChunks, type TestEntry } from "../../../tar/tar-builder.test-support.ts";
import { ImageStore, importRootfs } from "../../image/index.ts";
import { describeForTest, workspace } from "../../image/workspace.test-support.ts";
import { BuildCache, Builder, type RunStep } from "../index.ts";

/** Builds with a store of its own; what a RUN step does is up to the test. */
export async function buildBench(
  run: (step: RunStep, tree: Map<string, string>) => TestEntry[] | number = () => [],
) {
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
export async function contents(store: ImageStore, image: string): Promise<Map<string, string>> {
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

/** A context with a few files. */
export const files: TestEntry[] = [
  { path: "a.txt", data: Buffer.from("A"), mode: 0o640, uid: 77 },
  { path: "b.txt", data: Buffer.from("B") },
  { path: "dir/one", data: Buffer.from("1") },
  { path: "dir/sub/two", data: Buffer.from("2"), mode: 0o755 },
  { path: "dir/link", typeflag: "2", linkTarget: "one" },
  { path: "dir", typeflag: "5", mode: 0o700 },
];
