import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { askHelper } from "./credential-helper.ts";
import { pullBench } from "./testing/bench.ts";

describe("Docker's configuration", () => {
  async function withDocker(config: object) {
    const bench = await pullBench();
    await mkdir(join(bench.ws.path, "docker"));
    await bench.write("docker/config.json", config);
    return bench;
  }
  const auth = Buffer.from("name:se:cret").toString("base64");

  test("credentials by host, by URL, and for Docker Hub under its old name", async () => {
    await using bench = await withDocker({
      auths: {
        "host.test": { auth },
        "https://url.test": { auth },
        "https://index.docker.io/v1/": { auth },
        "token.test": { auth: Buffer.from("t:").toString("base64"), identitytoken: "it" },
      },
    });
    const known = { username: "name", password: "se:cret", identityToken: undefined };
    expect(await bench.credentials.find("host.test")).toEqual(known);
    expect(await bench.credentials.find("url.test")).toEqual(known);
    expect(await bench.credentials.find("docker.io")).toEqual(known);
    expect(await bench.credentials.find("token.test")).toMatchObject({ identityToken: "it" });
    expect(await bench.credentials.find("other.test")).toBeUndefined();
    // Ours come first.
    await bench.credentials.keep("host.test", { username: "ours", password: "x" });
    expect(await bench.credentials.find("host.test")).toMatchObject({ username: "ours" });
  });

  test("credential helpers are asked, within bounds", async () => {
    await using bench = await withDocker({
      credHelpers: {
        "good.test": "good",
        "none.test": "none",
        "slow.test": "gone",
        "evil.test": "../evil",
        "loud.test": "loud",
        "cut.test": "cut",
      },
    });
    const bin = join(bench.ws.path, "bin");
    await mkdir(bin);
    const helper = async (name: string, script: string) => {
      await writeFile(join(bin, `docker-credential-${name}`), `#!/bin/sh\n${script}`);
      await chmod(join(bin, `docker-credential-${name}`), 0o755);
    };
    await helper(
      "good",
      `[ "$1" = get ] && host=$(cat) && printf '{"ServerURL":"%s","Username":"u","Secret":"for %s"}' "$host" "$host"`,
    );
    await helper("none", "echo credentials not found in native keychain; exit 1");
    await helper("loud", "head -c 1000000 /dev/zero");
    await helper("cut", `printf '{"Username":"u","Secret":hunter2}'`);
    // What it has started holds its output open.
    await helper("stuck", "sleep 60 & sleep 60");
    const path = process.env.PATH;
    process.env.PATH = `${bin}:${path}`;
    try {
      const { CredentialStore } = await import("./credentials.ts");
      const store = new CredentialStore(join(bench.ws.path, "none.json"), {
        DOCKER_CONFIG: join(bench.ws.path, "docker"),
        PATH: `${bin}:${path}`,
      });
      expect(await store.find("good.test")).toEqual({ username: "u", password: "for good.test" });
      expect(await store.find("none.test")).toBeUndefined();
      await expect(store.find("slow.test")).rejects.toMatchObject({
        code: "unavailable",
        message: expect.stringMatching(/not installed/),
      });
      await expect(store.find("evil.test")).rejects.toMatchObject({ code: "invalid_argument" });
      await expect(store.find("loud.test")).rejects.toMatchObject({ code: "unavailable" });
      const cut = await store.find("cut.test").catch((error) => error);
      expect(cut).toMatchObject({ code: "unavailable" });
      expect(inspect(cut, { depth: 10 })).not.toContain("hunter2");
      const options = { env: { PATH: `${bin}:${path}` } };
      await expect(askHelper("stuck", ["a.test"], { ...options, timeoutMs: 100 })).rejects.toMatchObject({
        code: "unavailable",
        message: expect.stringContaining("longer than 100 ms"),
      });
      const signal = AbortSignal.timeout(100);
      await expect(askHelper("stuck", ["a.test"], { ...options, signal })).rejects.toMatchObject({
        code: "cancelled",
      });
    } finally {
      process.env.PATH = path;
    }
  });

  test("what cannot be read there counts as nothing", async () => {
    for (const config of ["{", "[]", '{"auths": 5}', '{"auths": {"host.test": {"auth": "no colon"}}}']) {
      await using bench = await withDocker({});
      await bench.write("docker/config.json", config);
      expect(await bench.credentials.find("host.test")).toBeUndefined();
    }
  });
});
