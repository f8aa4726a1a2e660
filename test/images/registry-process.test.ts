import { access, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RegistryProcess } from "./registry-process.ts";
import { run, skopeo } from "./tools.ts";

/** The registry that other tests rely on does what they rely on: it asks who they are, speaks TLS, and leaves nothing. */

const USER = { name: "somebody", password: "pass:word" };
let work: string;
let image: string;

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), "msb-registry-test-"));
  image = `${join(work, "layout")}:tiny`;
  await mkdir(join(work, "root"));
  await writeFile(join(work, "root/file"), "of a tiny image");
  await run("tar", ["-cf", join(work, "layer.tar"), "-C", join(work, "root"), "file"]);
  await run("umoci", ["init", "--layout", join(work, "layout")]);
  await run("umoci", ["new", "--image", image]);
  await run("umoci", ["raw", "add-layer", "--image", image, join(work, "layer.tar")]);
});
afterAll(() => rm(work, { recursive: true, force: true }));

describe.each([
  { how: "open to everybody", options: {} },
  { how: "with a password", options: { user: USER } },
  { how: "with TLS", options: { tls: true } },
  { how: "with both", options: { user: USER, tls: true } },
])("$how", ({ options }) => {
  test("takes an image and gives it back", async () => {
    await using registry = await RegistryProcess.start(options);
    const { host } = registry;
    await skopeo("copy", "-q", ...registry.skopeoFlags("dest"), `oci:${image}`, registry.url("some/tiny:1"));
    const url = registry.url("some/tiny:1");
    const inspected = JSON.parse(await skopeo("inspect", ...registry.skopeoFlags(""), url));
    expect(inspected).toMatchObject({ Name: `${host}/some/tiny`, RepoTags: ["1"], Layers: { length: 1 } });
    const put = registry.requests.filter(({ method, status }) => method === "PUT" && status === 201);
    expect(put.map(({ path }) => path)).toContain("/v2/some/tiny/manifests/1");
  });
});

test("a wrong password is refused, and no password is", async () => {
  await using registry = await RegistryProcess.start({ user: USER });
  const url = registry.url("some/tiny:1");
  const inspect = (...flags: string[]) => skopeo("inspect", "--tls-verify=false", ...flags, url);
  await expect(inspect()).rejects.toThrow(/authentication required/);
  await expect(inspect("--creds=somebody:guess")).rejects.toThrow(/authentication required/);
  // With the right one it is the image that is missing.
  await expect(inspect(`--creds=${USER.name}:${USER.password}`)).rejects.toThrow(/manifest unknown/);
});

test("its certificate is trusted with its authority alone", async () => {
  await using registry = await RegistryProcess.start({ tls: true });
  const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
  const ask = (more: NodeJS.ProcessEnv) =>
    run(
      process.execPath,
      ["-e", `fetch("https://${registry.host}/v2/").then((answer) => console.log(answer.status))`],
      { env: { ...env, ...more } },
    );
  await expect(ask({})).rejects.toThrow(/unable to verify|self-signed|certificate/);
  expect(await ask({ NODE_EXTRA_CA_CERTS: registry.ca! })).toBe("200\n");
});

test("leaves no process, port or folder", async () => {
  const folders = async () => (await readdir(tmpdir())).filter((name) => /^msb-registry-\w{6}$/.test(name));
  const before = await folders();
  const registry = await RegistryProcess.start({ tls: true });
  const made = (await folders()).filter((name) => !before.includes(name));
  expect(made).toHaveLength(1);
  await registry[Symbol.asyncDispose]();
  await expect(access(join(tmpdir(), made[0]!))).rejects.toMatchObject({ code: "ENOENT" });
  const [address, port] = registry.host.split(":");
  const refused = new Promise((resolve) => {
    connect(Number(port), address).once("error", resolve).once("connect", resolve);
  });
  expect(await refused).toMatchObject({ code: "ECONNREFUSED" });
});
