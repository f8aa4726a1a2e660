import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestHome } from "../sdk/testing/test-home.ts";
import { type Finished, Msb } from "./testing/msb.ts";

let home: TestHome;

const start = (...args: string[]) => new Msb(home.env, args);
const fed = (input: string | Buffer, ...args: string[]): Promise<Finished> => {
  const { child, finished } = start(...args);
  child.stdin.end(input);
  return finished;
};
const msb = (...args: string[]) => fed("", ...args);

beforeAll(async () => {
  home = new TestHome();
  expect(await msb("create", "--name", "box", "msb/base")).toMatchObject({ code: 0 });
});
afterAll(() => home[Symbol.asyncDispose]());

const lines = (text: string) => text.trim().split("\n");

test("pull tells of each layer's phases in plain lines, and prints the digest and the name", async () => {
  const { code, stdout, stderr } = await msb("pull", "registry.test/slow");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^Digest: sha256:[0-9a-f]{64}\nregistry\.test\/slow\n$/);
  expect(lines(stderr)[0]).toBe("msb: pulling registry.test/slow:latest …");
  expect(stderr).toMatch(/msb: [0-9a-f]{12}: downloading \(47\.7 MiB\)/);
  expect(lines(stderr).filter((line) => line.endsWith(": done"))).toHaveLength(3);
  expect(stderr).toContain(": exists");
  expect(stderr).toContain(": retrying");
  expect(lines(stderr).length).toBeLessThan(15);
});

test("pull --quiet, --json and a digest that is not the image's", async () => {
  expect(await msb("pull", "-q", "registry.test/app")).toMatchObject({
    stdout: "registry.test/app\n",
    stderr: "",
  });
  const events = lines((await msb("pull", "--json", "registry.test/app")).stdout).map((line) =>
    JSON.parse(line),
  );
  expect(events[0]).toMatchObject({ type: "progress", progress: { layer: { phase: expect.any(String) } } });
  expect(events.at(-1)).toMatchObject({ type: "result", result: { name: "registry.test/app" } });
  const wrong = await msb("pull", "--digest", "sha256:0", "registry.test/app");
  expect(wrong).toMatchObject({ code: 1, stdout: "" });
  const missing = await msb("pull", "--json", "registry.test/none");
  expect(JSON.parse(lines(missing.stderr).at(-1)!)).toMatchObject({ error: { code: "not_found" } });
});

test("Ctrl-C ends a pull, with 130", async () => {
  const run = start("pull", "registry.test/slow");
  await run.wrote("downloading");
  run.child.kill("SIGINT");
  expect(await run.finished).toMatchObject({ code: 130, stdout: "" });
});

test("run fetches what is missing, and says so; --pull never does not", async () => {
  await msb("rmi", "registry.test/slow");
  expect(await msb("run", "--pull", "never", "registry.test/slow", "true")).toMatchObject({ code: 125 });
  const pulled = await msb("run", "registry.test/slow", "echo", "hi");
  expect(pulled.stdout).toBe("hi\n");
  expect(pulled.stderr).toContain("msb: pulling registry.test/slow");
  expect((await msb("run", "registry.test/slow", "true")).stderr).toBe("");
  expect((await msb("run", "--pull", "always", "registry.test/slow", "true")).stderr).toContain("pulling");
  expect((await msb("run", "--pull", "sometimes", "msb/base", "true")).code).toBe(125);
  expect((await msb("run", "--platform", "arm", "msb/base", "true")).stderr).toContain(
    "--platform: must look like",
  );
});

test("push, where the name says or elsewhere", async () => {
  await msb("tag", "msb/base", "registry.test/mine:1");
  expect((await msb("push", "registry.test/mine:1")).stdout).toMatch(
    /^Digest: sha256:.*\nregistry.test\/mine:1\n$/,
  );
  expect((await msb("push", "-q", "msb/base", "--to", "registry.test/it:2")).stdout).toBe(
    "registry.test/it:2\n",
  );
  expect(await msb("push", "msb/base")).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("hint: msb login"),
  });
});

test("images: a table, digests, JSON", async () => {
  expect((await msb("images", "--digests")).stdout).toMatch(/^NAME +REGISTRY DIGEST +DIGEST +SIZE +AGE\n/);
  expect((await msb("images", "ls", "--digests")).stdout).toContain("REGISTRY DIGEST");
  const digests = lines((await msb("images", "-q")).stdout);
  expect(new Set(digests).size).toBe(digests.length);
  for (const digest of digests) expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
});

test("tag, rmi, and an image that is in use", async () => {
  expect((await msb("tag", "msb/base", "my/tag")).stdout).toBe("my/tag\n");
  const { code, stdout, stderr } = await msb("rmi", "my/tag", "msb/base");
  expect({ code, stdout }).toEqual({ code: 1, stdout: "my/tag\n" });
  expect(stderr).toBe("msb: image 'msb/base' is in use by box\nhint: Remove these sandboxes first.\n");
});

test("inspect finds a sandbox first, then an image", async () => {
  expect(JSON.parse((await msb("inspect", "box")).stdout)).toMatchObject({ state: "running" });
  const [box, image] = JSON.parse((await msb("inspect", "box", "msb/base")).stdout);
  expect(box.name).toBe("box");
  expect(image).toMatchObject({ names: ["msb/base"], sandboxes: ["box"] });
  expect((await msb("inspect", "--type", "image", "box")).code).toBe(1);
  expect((await msb("inspect", "nothing")).stderr).toContain("there is no sandbox and no image nothing");
  const long = `${"x".repeat(80)}/y`;
  expect((await msb("inspect", long)).stderr).toContain(`no image ${long}`);
});

test("history escapes what a Dockerfile says", async () => {
  const { stdout } = await msb("history", "msb/base");
  expect(stdout).toMatch(/^AGE +SIZE +STEP\n +4\.0 KiB +COPY \. \.\n.*RUN true \\x1b\[31m\n$/);
});

test("save to a file and to stdout, load from both", async () => {
  const file = join(home.path, "saved.tar");
  expect(await msb("save", "msb/base", "test/nothing", "-o", file)).toMatchObject({ code: 0, stdout: "" });
  expect(lines((await msb("load", "-i", file)).stdout)).toEqual(["msb/base", "test/nothing"]);
  const { stdoutBytes } = await msb("save", "--format", "docker", "msb/base");
  expect(JSON.parse(stdoutBytes.toString()).format).toBe("docker");
  expect((await fed(stdoutBytes, "load")).stdout).toBe("msb/base\n");
  expect(await fed("nonsense", "load")).toMatchObject({ code: 1 });
  expect((await msb("load", "-i", "/no/such")).stderr).toBe("msb: there is no file /no/such\n");
  const broken = await msb("save", "test/slow", "-o", join(home.path, "broken.tar"));
  expect(broken).toMatchObject({ code: 1, stderr: expect.stringContaining("broke off half-way") });
  expect(existsSync(join(home.path, "broken.tar"))).toBe(false);
  expect(await msb("save", "test/slow")).toMatchObject({ code: 1 });
});

test("export a sandbox and an image", async () => {
  expect((await msb("export", "box")).stdoutBytes).toHaveLength(4096);
  const file = join(home.path, "base.tar");
  await msb("export", "msb/base", "-o", file);
  expect(readFileSync(file)).toHaveLength(4096);
  expect((await msb("export", "nothing")).stderr).toContain("there is no sandbox and no image nothing");
  await msb("create", "--name", "halted", "msb/base");
  await msb("stop", "halted");
  expect(await msb("export", "halted")).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("halted is stopped"),
  });
});

test("import a folder", async () => {
  const folder = join(home.path, "rootfs");
  mkdirSync(join(folder, "etc"), { recursive: true });
  writeFileSync(join(folder, "etc/os-release"), "ID=test");
  expect((await msb("import", folder, "my/root")).stdout).toBe("my/root\n");
  const tar = (await msb("export", "my/root")).stdoutBytes;
  expect(execFileSync("tar", ["-xOf", "-", "./etc/os-release"], { input: tar }).toString()).toBe("ID=test");
});

test("build shows steps and what they write; stdout has the result", async () => {
  const folder = join(home.path, "context");
  mkdirSync(folder);
  writeFileSync(join(folder, "Dockerfile"), "FROM msb/base\nRUN make \x1b[31m\n");
  const built = await msb("build", "-t", "my/app", "-t", "my/app:2", folder);
  expect(built.code).toBe(0);
  expect(built.stdout).toMatch(/^sha256:[0-9a-f]{64}\nmy\/app\nmy\/app:2\n$/);
  expect(lines(built.stderr)).toEqual([
    "[1/2] FROM msb/base",
    "[2/2] RUN make \\x1b[31m",
    "  output of make",
  ]);
  const asked = [
    "--build-arg",
    "A=1",
    "--build-arg",
    "HOME",
    "--label",
    "k=v",
    "--target",
    "t",
    "--no-cache",
    "--pull",
  ];
  await msb("build", "-q", ...asked, "-t", "my/asked", folder);
  const text = await fed("FROM text\nRUN false\n", "build", "-q", "-f", "-", folder);
  expect(text).toMatchObject({ code: 1, stdout: "" });
  expect(text.stderr).toBe("  output of false\nmsb: Dockerfile line 2: RUN false ended with 1\n");
  const { stdoutBytes } = await msb("export", "my/app");
  const fromTar = await fed(stdoutBytes, "build", "--json", "-");
  expect(JSON.parse(lines(fromTar.stdout).at(-1)!)).toMatchObject({ type: "result" });
  expect((await msb("build", join(home.path, "none"))).stderr).toContain("there is no file");
  expect((await msb("build", "-f", "none", folder)).stderr).toMatch(
    /there is no Dockerfile .*none\nhint: -f FILE/,
  );
  expect((await msb("build", "--build-arg", "=x", folder)).stderr).toContain("not of the form KEY=VALUE");
});

test("prune asks, and where there is nobody to ask it wants --force", async () => {
  await msb("tag", "msb/base", "prune/me");
  const { code, stderr } = await msb("prune", "--all");
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: "msb: there is nobody to ask whether to prune\nhint: msb prune --force\n",
  });
  const { stdout } = await msb("prune", "--all", "--build-cache", "-f");
  expect(stdout).toBe(
    "untagged prune/me\nremoved 1 images, 1 layers, 2 entries of the build cache\nfreed 1.0 MiB\n",
  );
});

test("df is a table with the quota", async () => {
  const { stdout } = await msb("df");
  expect(stdout).toMatch(/^WHAT +COUNT +SIZE +RECLAIMABLE\nimages +\d+ /);
  expect(stdout).toMatch(/build cache +2 +2\.0 KiB +2\.0 KiB\n\nin all .* of 1\.0 GiB\n$/);
  expect(JSON.parse((await msb("df", "--json")).stdout)).toMatchObject({ quotaBytes: 1024 ** 3 });
});

test("login takes the password from stdin, and never tells it", async () => {
  const login = ["login", "-u", "ann", "--password-stdin", "registry.test"];
  expect(await fed("secret\n", ...login)).toMatchObject({ code: 0, stdout: "logged in to registry.test\n" });
  const wrong = await fed("guess", ...login);
  expect(wrong.code).toBe(1);
  expect(wrong.stderr).not.toContain("guess");
  expect((await msb("login", "registry.test")).stderr).toContain("nobody to ask for a password");
  expect((await fed("x", "login", "--password-stdin")).stderr).toContain("needs --username");
  expect((await msb("logout", "registry.test")).stdout).toBe("logged out of registry.test\n");
  expect((await msb("logout", "registry.test")).code).toBe(1);
});
