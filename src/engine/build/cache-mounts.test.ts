import { expect, test } from "vitest";
import type { TestEntry } from "../../tar/tar-builder.test-support.ts";
import { buildBench, contents } from "./testing/build-bench.ts";

const file = (path: string, data: string): TestEntry => ({ path, data: Buffer.from(data) });
const link = (path: string, linkTarget: string): TestEntry => ({ path, typeflag: "1", linkTarget });

test("hard links between a cache and the image become files of their own, in both", async () => {
  const seen: (string | undefined)[] = [];
  await using b = await buildBench(({ argv }, tree) => {
    seen.push(...["a", "b", "plain"].map((name) => tree.get(`cache/${name}`)));
    if (argv[2] !== "one") return [];
    return [
      file("app/b", "B"),
      file("cache/a", "A"),
      file("cache/plain", "P"),
      link("cache/b", "app/b"),
      link("out/a", "cache/a"),
      link("out/same", "cache/a"),
      link("out/third", "out/a"),
    ];
  });
  const image = await b.build("FROM msb/base\nRUN --mount=type=cache,target=/cache one");
  const all = await contents(b.store, image.digest);
  const data = "A|644 0:0";
  expect(["app/b", "out/a", "out/same", "out/third"].map((path) => all.get(path))).toEqual([
    "B|644 0:0",
    data,
    data,
    data,
  ]);
  expect([...all.keys()].filter((path) => path.startsWith("cache"))).toEqual([]);
  await using tree = await b.store.openTree(image.digest);
  const inodes = ["out/a", "out/same", "out/third"].map((path) => tree.lookup(path)?.inode);
  expect(new Set(inodes).size).toBe(1);
  await b.build("FROM msb/base\nRUN --mount=type=cache,target=/cache two");
  expect(seen.slice(3)).toEqual([data, "B|644 0:0", "P|644 0:0"]);
});

test("a hard link to what is nowhere fails the step and keeps nothing", async () => {
  await using b = await buildBench(() => [link("out/a", "cache/none")]);
  await expect(b.build("FROM msb/base\nRUN --mount=type=cache,target=/cache x")).rejects.toMatchObject({
    code: "invalid_argument",
  });
  expect(await b.cache.layers()).toEqual([]);
});

test("of caches within each other each keeps its own, in whatever order they stand", async () => {
  const seen: (string | undefined)[] = [];
  await using b = await buildBench((_, tree) => {
    seen.push(tree.get("c/outer"), tree.get("c/in/inner"));
    return [file("c/outer", "O"), file("c/in/inner", "I")];
  });
  const both = "--mount=type=cache,target=/c/in --mount=type=cache,target=/c";
  const image = await b.build(`FROM msb/base\nRUN ${both} 1`);
  await b.build(`FROM msb/base\nRUN ${both} 2`);
  await b.build("FROM msb/base\nRUN --mount=type=cache,target=/c 3");
  const [outer, inner] = ["O|644 0:0", "I|644 0:0"];
  expect(seen).toEqual([undefined, undefined, outer, inner, outer, undefined]);
  expect([...(await contents(b.store, image.digest)).keys()].filter((path) => path.startsWith("c/"))).toEqual(
    [],
  );
});

test("two caches at one place are refused", async () => {
  await using b = await buildBench();
  const twice = "RUN --mount=type=cache,target=/c --mount=type=cache,id=x,target=/c/ y";
  await expect(b.build(`FROM msb/base\n${twice}`)).rejects.toMatchObject({
    code: "invalid_argument",
    details: { line: 2, column: 34 },
  });
});
