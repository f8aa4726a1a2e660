import { expect, test } from "vitest";
import { type Mount, mounts } from "../../contract/index.ts";
import { inOrder, volumesOf } from "./mounts.ts";

const tmpfs = (target: string): Mount => ({ type: "tmpfs", target, sizeMiB: 1, mode: 0o755 });

test("what lies in another mount comes after it, whatever sorts between", () => {
  const order = inOrder([tmpfs("/a/b/c"), tmpfs("/a-b"), tmpfs("/a/b"), tmpfs("/a"), tmpfs("/a!")]);
  const targets = order.map(({ target }) => target);
  for (const [i, target] of targets.entries()) {
    for (const before of targets.slice(0, i)) expect(before.startsWith(`${target}/`)).toBe(false);
  }
});

test("volumes keep the order of the spec: it is that of their disks", () => {
  const spec = mounts.parse([
    { type: "volume", name: "b", target: "/z" },
    { type: "tmpfs", target: "/t" },
    { type: "volume", name: "a", target: "/a" },
  ]);
  expect(volumesOf(spec).map(({ name }) => name)).toEqual(["b", "a"]);
});
