import { chmod, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseChallenges } from "./challenge.ts";
import { pullBench } from "./testing/bench.ts";
import { type Handler, ScriptedRegistry, testImage } from "./testing/scripted-registry.ts";

const basic = (user: string, password: string) =>
  `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;

/** Lets in who has `wanted`, and says to others where to get it. */
const guard = (wanted: () => string, challenge: (registry: string) => string): Handler =>
  function (this: unknown, request, response, { authorization, path }) {
    if (path.startsWith("/token") || authorization === wanted()) return false;
    response.writeHead(401, { "www-authenticate": challenge(request.headers.host!) });
    response.end();
    return true;
  };

describe("tokens", () => {
  /** A registry with a token server beside it; each token is good for `uses` requests. */
  async function tokenRegistry(
    uses = Number.POSITIVE_INFINITY,
    answer: (asked: URL, authorization: string | undefined) => object | number = () => ({}),
  ) {
    let issued = 0;
    let used = 0;
    const current = () => `Bearer token-${issued}`;
    const registry = await ScriptedRegistry.start(testImage(), async (request, response, seen) => {
      const url = new URL(seen.path, "http://x");
      if (url.pathname === "/token") {
        const result = answer(url, seen.authorization);
        if (typeof result === "number") {
          response.writeHead(result);
          response.end();
          return true;
        }
        issued++;
        used = 0;
        response.end(JSON.stringify({ token: `token-${issued}`, expires_in: 300, ...result }));
        return true;
      }
      if (seen.path === "/v2/") return false;
      if (seen.authorization === current() && ++used <= uses) return false;
      response.writeHead(401, {
        "www-authenticate": `Bearer realm="http://${request.headers.host}/token",service="test",scope="repository:app:pull"`,
      });
      response.end();
      return true;
    });
    return { registry, issued: () => issued };
  }

  test("as nobody, for the repository's scope, and used until it ends", async () => {
    const { registry, issued } = await tokenRegistry();
    await using _registry = registry;
    await using bench = await pullBench();
    await bench.pull(`${registry.host}/app:1`);
    expect(issued()).toBe(1);
    const [asked] = registry.seen.filter(({ path }) => path.startsWith("/token"));
    expect(asked).toMatchObject({
      path: "/token?service=test&scope=repository%3Aapp%3Apull",
      authorization: undefined,
    });
  });

  test("a token that has ended early is renewed", async () => {
    const { registry, issued } = await tokenRegistry(2);
    await using _registry = registry;
    await using bench = await pullBench();
    await bench.pull(`${registry.host}/app:1`);
    expect(issued()).toBeGreaterThan(1);
  });

  test("with credentials; and a server that does not accept them", async () => {
    const wanted = basic("user", "pass:word");
    const { registry } = await tokenRegistry(undefined, (_, authorization) =>
      authorization === wanted ? { access_token: "x" } : 401,
    );
    await using _registry = registry;
    await using bench = await pullBench();
    const nobody = await bench.pull(`${registry.host}/app:1`).catch((error) => error);
    expect(nobody).toMatchObject({ code: "unauthenticated", hint: `Log in: msb login ${registry.host}` });
    await bench.credentials.keep(registry.host, { username: "user", password: "wrong" });
    const wrong = await bench.pull(`${registry.host}/app:1`).catch((error) => error);
    expect(wrong).toMatchObject({ code: "permission_denied", message: expect.stringContaining('"user"') });
    expect(JSON.stringify([wrong.message, wrong.hint, wrong.details])).not.toContain("wrong");
    await bench.credentials.keep(registry.host, { username: "user", password: "pass:word" });
    await bench.pull(`${registry.host}/app:1`);
  });

  test.each<[string, object | number]>([
    ["no token", { token: "" }],
    ["no JSON", 204],
    ["an error", 500],
  ])("a token server that answers with %s", async (_, answer) => {
    const { registry } = await tokenRegistry(undefined, () => answer);
    await using _registry = registry;
    await using bench = await pullBench();
    await expect(bench.pull(`${registry.host}/app:1`)).rejects.toMatchObject({
      code: "unavailable",
      message: /token/,
    });
  });
});

test("credentials go to the registry and not to where it redirects", async () => {
  const image = testImage();
  await using cdn = await ScriptedRegistry.start(image);
  await using registry = await ScriptedRegistry.start(image, (request, response, { path, authorization }) => {
    if (path === "/v2/") return false;
    if (authorization !== basic("u", "p")) {
      response.writeHead(401, { "www-authenticate": 'Basic realm="test"' });
      response.end();
      return true;
    }
    if (!path.includes("/blobs/")) return false;
    response.writeHead(307, { location: `http://thief:x@${cdn.host}${request.url}` });
    response.end();
    return true;
  });
  await using bench = await pullBench();
  await bench.credentials.keep(registry.host, { username: "u", password: "p" });
  await bench.pull(`${registry.host}/app:1`);
  expect(cdn.seen.length).toBeGreaterThan(2);
  expect(cdn.seen.every(({ authorization }) => authorization === undefined)).toBe(true);
  // What stands there is not read out to whoever asks.
  cdn.handler = (_, response) => {
    response.writeHead(403);
    response.end(JSON.stringify({ errors: [{ code: "X", message: "secret of the inner network" }] }));
    return true;
  };
  const other = testImage({ layers: [[{ path: "other" }]] });
  for (const [key, value] of other.manifests) image.manifests.set(key, value);
  for (const [key, value] of other.blobs) image.blobs.set(key, value);
  const failed = await bench.pull(`${registry.host}/app:1`).catch((error) => error);
  expect(failed.code).toBe("permission_denied");
  expect(failed.message).not.toContain("secret");
});

test("msb login keeps what the registry accepts, readable by its owner only, and forgets it again", async () => {
  await using registry = await ScriptedRegistry.start(
    testImage(),
    guard(
      () => basic("u", "p"),
      () => 'Basic realm="x"',
    ),
  );
  await using bench = await pullBench();
  await expect(
    bench.client.tryCredentials(registry.host, { username: "u", password: "no" }),
  ).rejects.toMatchObject({ code: "permission_denied" });
  await bench.client.tryCredentials(registry.host, { username: "u", password: "p" });
  await bench.credentials.keep(registry.host, { username: "u", password: "p" });
  const file = join(bench.ws.path, "credentials.json");
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  await bench.pull(`${registry.host}/app:1`);
  await bench.credentials.forget(registry.host);
  bench.client.forgetCredentials(registry.host);
  await expect(bench.pull(`${registry.host}/app:1`)).rejects.toMatchObject({ code: "unauthenticated" });
  expect(await readFile(file, "utf8")).not.toContain('"p"');
  await expect(bench.credentials.forget(registry.host)).rejects.toMatchObject({ code: "not_found" });
});

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
        message: /not installed/,
      });
      await expect(store.find("evil.test")).rejects.toMatchObject({ code: "invalid_argument" });
      await expect(store.find("loud.test")).rejects.toMatchObject({ code: "unavailable" });
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

describe("challenges", () => {
  test.each<[string, [string, Record<string, string>][]]>([
    [
      'Bearer realm="https://a/token",service="s",scope="repository:x:pull,push"',
      [["bearer", { realm: "https://a/token", service: "s", scope: "repository:x:pull,push" }]],
    ],
    ['Basic realm="a \\"b\\", c"', [["basic", { realm: 'a "b", c' }]]],
    ["BEARER realm=plain , service = spaced", [["bearer", { realm: "plain", service: "spaced" }]]],
    [
      'Negotiate, Basic realm="x", Bearer realm="y"',
      [
        ["negotiate", {}],
        ["basic", { realm: "x" }],
        ["bearer", { realm: "y" }],
      ],
    ],
    ["", []],
    [",,, ", []],
    ['Basic realm="open', [["basic", {}]]],
  ])("%s", (header, expected) => {
    expect(
      parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]),
    ).toEqual(expected);
  });

  test("any header is read within bounds", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.constantFrom("Bearer ", 'realm="', '"', ",", "=", "\\", " "))),
        (parts) => {
          const found = parseChallenges(parts.join("").repeat(3));
          expect(found.length).toBeLessThanOrEqual(16);
        },
      ),
      { numRuns: 3000, seed: 7 },
    );
    expect(parseChallenges("a ".repeat(100_000)).length).toBe(16);
    expect(
      parseChallenges(`Basic ${Array.from({ length: 100 }, (_, i) => `k${i}=v`).join(",")}`)[0]!.parameters
        .size,
    ).toBe(16);
  });
});
