import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseChallenges } from "./challenge.ts";
import { pullBench } from "./testing/bench.ts";
import { type Handler, ScriptedRegistry, testImage } from "./testing/scripted-registry.ts";
import { TunnelProxy } from "./testing/tunnel-proxy.ts";

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
    ["what cannot be part of a header", { token: "a\r\nx-evil: b" }],
    ["an error", 500],
  ])("a token server that answers with %s", async (_, answer) => {
    const { registry } = await tokenRegistry(undefined, () => answer);
    await using _registry = registry;
    await using bench = await pullBench();
    await expect(bench.pull(`${registry.host}/app:1`)).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(/token/),
    });
  });
});

test("nobody is asked for a token without TLS, but on this machine", async () => {
  await using registry = await ScriptedRegistry.start(
    testImage(),
    guard(
      () => "never",
      () => 'Bearer realm="http://token.invalid/token"',
    ),
  );
  registry.handler = (
    (guarded) => (request, response, seen) =>
      seen.path === "/v2/" ? false : guarded(request, response, seen)
  )(registry.handler);
  await using bench = await pullBench();
  await bench.credentials.keep(registry.host, { username: "u", password: "p" });
  await expect(bench.pull(`${registry.host}/app:1`)).rejects.toMatchObject({
    code: "permission_denied",
    message: expect.stringMatching(/token\.invalid without HTTPS/),
  });
});

test("a mirror without TLS does not hear who we are", async () => {
  await using mirror = await ScriptedRegistry.start(
    testImage(),
    guard(
      () => basic("u", "p"),
      () => 'Basic realm="test"',
    ),
  );
  await using proxy = await TunnelProxy.start(Number(mirror.host.split(":")[1]));
  await using bench = await pullBench({}, { HTTP_PROXY: proxy.url });
  await bench.credentials.keep("mirror.test", { username: "u", password: "p" });
  const mirrors = { mirrors: ["http://mirror.test"] };
  await bench.write("images.json", { registries: { "127.0.0.1:1": mirrors } });
  await expect(bench.pull("127.0.0.1:1/app:1")).rejects.toMatchObject({ code: "unavailable" });
  expect(mirror.seen.map(({ authorization }) => authorization)).toEqual([undefined]);
  // Unless that is what the owner wants.
  await bench.write("images.json", {
    registries: { "127.0.0.1:1": mirrors, "mirror.test": { insecure: true } },
  });
  await bench.pull("127.0.0.1:1/app:1");
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
