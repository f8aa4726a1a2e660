import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { packContext, packDockerfile } from "./build-context.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "msb-context-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}

const tar = (input: Buffer, ...args: string[]) =>
  execFileSync("tar", [...args, "-f", "-"], { input, encoding: "utf8" });

async function packed(dockerfile?: string | Uint8Array) {
  const context = await packContext(folder, dockerfile);
  const bytes = await buffer(context.tar);
  return {
    names: tar(bytes, "-t").trim().split("\n"),
    owners: tar(bytes, "-tv", "--numeric-owner"),
    dockerfile: context.dockerfile,
    text: tar(bytes, "-xO", `./${context.dockerfile}`),
    bytes,
  };
}

test("everything goes, in order, as root's", async () => {
  write({ Dockerfile: "FROM x", "b/two": "", "a/one": "" });
  const { names, owners, dockerfile } = await packed();
  expect(names).toEqual(["./", "./Dockerfile", "./a/", "./a/one", "./b/", "./b/two"]);
  for (const line of owners.trim().split("\n")) expect(line).toMatch(/^\S+ 0\/0 /);
  expect(dockerfile).toBe("Dockerfile");
});

test("the same files make the same tar", async () => {
  write({ Dockerfile: "FROM x", "a/one": "1" });
  expect((await packed()).bytes.equals((await packed()).bytes)).toBe(true);
});

test("what is ignored stays, with exceptions and the folders above them", async () => {
  write({
    Dockerfile: "FROM x",
    ".dockerignore": "node_modules\n**/*.log\ndocs\n!docs/api/keep.md\nDockerfile\n.dockerignore",
    "node_modules/x/y": "",
    "src/a.ts": "",
    "src/deep/b.log": "",
    "docs/api/keep.md": "",
    "docs/api/drop.md": "",
    "docs/other/drop.md": "",
  });
  expect((await packed()).names).toEqual([
    "./",
    "./.dockerignore",
    "./Dockerfile",
    "./docs/",
    "./docs/api/",
    "./docs/api/keep.md",
    "./src/",
    "./src/a.ts",
    "./src/deep/",
  ]);
});

test("an ignored Dockerfile in an ignored folder goes, and its own ignore file is the one that counts", async () => {
  write({
    "docker/app.Dockerfile": "FROM x",
    "docker/app.Dockerfile.dockerignore": "*",
    "docker/other": "",
    ".dockerignore": "# nothing",
    file: "",
  });
  const { names, dockerfile } = await packed(join(folder, "docker/app.Dockerfile"));
  expect(dockerfile).toBe("docker/app.Dockerfile");
  expect(names).toEqual([
    "./",
    "./docker/",
    "./docker/app.Dockerfile",
    "./docker/app.Dockerfile.dockerignore",
  ]);
});

test("a Dockerfile from outside, or as text, goes in front under a name of its own", async () => {
  write({ "context/file": "", "context/Dockerfile": "FROM inside", Outside: "FROM outside" });
  write({ "Outside.dockerignore": "file" });
  folder = join(folder, "context");
  const outside = await packed(join(folder, "../Outside"));
  expect(outside.text).toBe("FROM outside");
  expect(outside.dockerfile).toMatch(/^\.dockerfile-[0-9a-f]{16}$/);
  expect(outside.names).toEqual([
    `./${outside.dockerfile}`,
    `./${outside.dockerfile}.dockerignore`,
    "./",
    "./Dockerfile",
  ]);
  const text = await packed(Buffer.from("FROM text"));
  expect(text.text).toBe("FROM text");
  expect(text.names).toContain("./file");
  folder = dirname(folder);
});

test("a Dockerfile that is a link goes with what it points to", async () => {
  write({ real: "FROM real", ".dockerignore": "real" });
  symlinkSync("real", join(folder, "Dockerfile"));
  expect((await packed()).text).toBe("FROM real");
});

test("a Dockerfile goes with a context that is a tar already", async () => {
  write({ Dockerfile: "FROM x", file: "" });
  const { bytes } = await packed();
  const both = packDockerfile(Readable.from([bytes]), Buffer.from("FROM text"));
  const joined = await buffer(both.tar);
  expect(tar(joined, "-xO", `./${both.dockerfile}`)).toBe("FROM text");
  expect(tar(joined, "-t")).toContain("./file");
});

test("what is wrong is told before anything is sent", async () => {
  await expect(packContext(folder)).rejects.toMatchObject({
    code: "not_found",
    message: expect.stringContaining("Dockerfile"),
  });
  await expect(packContext(folder, join(folder, "../none"))).rejects.toMatchObject({ code: "not_found" });
  await expect(packContext(join(folder, "none"))).rejects.toMatchObject({ code: "ENOENT" });
  write({ Dockerfile: "FROM x", ".dockerignore": "a\n[" });
  await expect(packContext(folder)).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining(".dockerignore, line 2"),
  });
  await expect(packContext(join(folder, "Dockerfile"))).rejects.toMatchObject({ code: "invalid_argument" });
});
