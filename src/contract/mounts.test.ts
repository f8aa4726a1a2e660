import { expect, test } from "vitest";
import { mounts } from "./mounts.ts";

const tmpfs = (target: string) => ({ type: "tmpfs", target });
const messages = (input: unknown) => mounts.safeParse(input).error?.issues.map(({ message }) => message);

test("fills in what is left out", () => {
  expect(
    mounts.parse([
      { type: "volume", name: "data", target: "/data" },
      { type: "folder", source: "/srv", target: "/srv", uid: 1000 },
      tmpfs("/scratch"),
    ]),
  ).toEqual([
    { type: "volume", name: "data", target: "/data", readOnly: false, dirSync: false },
    { type: "folder", source: "/srv", target: "/srv", readOnly: false, uid: 1000 },
    { type: "tmpfs", target: "/scratch", sizeMiB: 64, mode: 0o1777 },
  ]);
});

test.each([
  "/",
  "",
  "data",
  "/a/",
  "//a",
  "/a//b",
  "/a/./b",
  "/a/..",
  "/../etc",
  "/a\0b",
  "/proc",
  "/proc/sys",
  "/sys",
  "/sys/fs",
  "/dev",
  "/dev/shm",
])("refuses the target %j", (target) => {
  expect(mounts.safeParse([tmpfs(target)]).success).toBe(false);
});

test.each(["/process", "/device", "/a.b/..c", "/srv/proc", "/run/x"])("takes the target %j", (target) => {
  expect(mounts.safeParse([tmpfs(target)]).success).toBe(true);
});

test("no mount point and no volume is there twice", () => {
  expect(messages([tmpfs("/a"), tmpfs("/a")])).toEqual(["the mount point '/a' is there twice"]);
  const volume = (target: string) => ({ type: "volume", name: "data", target });
  expect(messages([volume("/a"), volume("/b")])).toEqual(["the volume 'data' is there twice"]);
});

test("has at most 16 mounts, and knows no other kinds and fields", () => {
  const many = Array.from({ length: 17 }, (_, i) => tmpfs(`/m${i}`));
  expect(mounts.safeParse(many.slice(1)).success).toBe(true);
  expect(messages(many)).toEqual(["a sandbox has at most 16 mounts"]);
  expect(mounts.safeParse([{ type: "nfs", target: "/n" }]).success).toBe(false);
  expect(mounts.safeParse([{ ...tmpfs("/a"), uid: 1 }]).success).toBe(false);
  expect(mounts.safeParse([{ type: "folder", source: "src", target: "/a" }]).success).toBe(false);
  expect(mounts.safeParse([{ type: "volume", name: "../x", target: "/a" }]).success).toBe(false);
});
