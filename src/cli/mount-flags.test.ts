import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { parseTmpfs, parseVolume } from "./mount-flags.ts";

test.each([
  ["data:/data", { type: "volume", name: "data", target: "/data" }],
  ["data:/data:ro", { type: "volume", name: "data", target: "/data", readOnly: true }],
  ["data:/data:dirsync", { type: "volume", name: "data", target: "/data", dirSync: true }],
  ["data:/data/:rw", { type: "volume", name: "data", target: "/data" }],
  ["/srv/x:/srv", { type: "folder", source: "/srv/x", target: "/srv" }],
  [".:/srv", { type: "folder", source: resolve("."), target: "/srv" }],
  ["../x:/srv", { type: "folder", source: resolve("../x"), target: "/srv" }],
  ["~/x:/srv", { type: "folder", source: join(homedir(), "x"), target: "/srv" }],
  ["/a:b:/srv", { type: "folder", source: "/a:b", target: "/srv" }],
  [
    "./s:/srv:ro,uid=1000,gid=0",
    { type: "folder", source: resolve("s"), target: "/srv", readOnly: true, uid: 1000, gid: 0 },
  ],
])("--volume %s", (text, expected) => {
  expect(parseVolume(text)).toEqual(expected);
});

test.each([
  ["data", "not of the form"],
  [":/data", "not of the form"],
  ["data:relative", "not of the form"],
  ["data:/data:ro:x", "more than one list"],
  ["data:/data:ro,ro", "says 'ro' twice"],
  ["data:/data:ro,rw", "both ro and rw"],
  ["data:/data:ro,dirsync", "both ro and dirsync"],
  ["./s:/srv:dirsync", "no option 'dirsync'"],
  ["data:/data:uid=1", "no option 'uid'"],
  ["./s:/srv:uid=me", "is no number"],
  ["./s:/srv:size=1G", "no option 'size'"],
])("refuses --volume %s", (text, message) => {
  expect(() => parseVolume(text)).toThrow(message);
});

test.each([
  ["/scratch", { type: "tmpfs", target: "/scratch" }],
  ["/scratch/:size=1G", { type: "tmpfs", target: "/scratch", sizeMiB: 1024 }],
  ["/s:mode=0750,size=8M", { type: "tmpfs", target: "/s", sizeMiB: 8, mode: 0o750 }],
])("--tmpfs %s", (text, expected) => {
  expect(parseTmpfs(text)).toEqual(expected);
});

test.each([
  ["/s:size=8", "a size needs a unit"],
  ["/s:mode=999", "is no octal mode"],
  ["/s:ro", "no option 'ro'"],
])("refuses --tmpfs %s", (text, message) => {
  expect(() => parseTmpfs(text)).toThrow(message);
});
