import { describe, expect, test } from "vitest";
import { MEDIA_TYPES } from "../manifest.ts";
import { pullBench } from "./testing/bench.ts";
import { type Handler, ScriptedRegistry } from "./testing/scripted-registry.ts";
import { TunnelProxy } from "./testing/tunnel-proxy.ts";
import { withRegistry } from "./testing/with-registry.ts";

describe("a busy or broken registry", () => {
  test.each([500, 502, 503, 429, 408])("%i is asked again", async (status) => {
    let refusals = 2;
    await withRegistry(
      (_, response, { path }) => {
        if (!path.includes("/manifests/") || refusals-- <= 0) return false;
        response.writeHead(status, status === 429 ? { "retry-after": "0" } : {});
        response.end();
        return true;
      },
      async (registry, bench) => {
        await bench.pull(`${registry.host}/app:1`);
        expect(registry.count(/manifests/)).toBe(3);
      },
    );
  });

  test.each<[string, number, Record<string, string>, string]>([
    ["for ever", 500, {}, "unavailable"],
    ["for longer than we wait", 429, { "retry-after": "3600" }, "resource_exhausted"],
    [
      "until a date that is far",
      429,
      { "retry-after": new Date(Date.now() + 3_600_000).toUTCString() },
      "resource_exhausted",
    ],
    ["with limits", 429, {}, "resource_exhausted"],
    ["forbidden", 403, {}, "permission_denied"],
    ["unknown", 404, {}, "not_found"],
    ["nobody is let in", 401, {}, "unauthenticated"],
    ["a teapot", 418, {}, "unavailable"],
  ])("%s: %i", async (_, status, headers, code) => {
    await withRegistry(
      (_, response, { path }) => {
        if (!path.includes("/manifests/")) return false;
        response.writeHead(status, headers);
        response.end(JSON.stringify({ errors: [{ code: "X", message: "said \x1b[31mso" }] }));
        return true;
      },
      async (registry, bench) => {
        const failed = await bench.pull(`${registry.host}/app:1`).catch((error) => error);
        expect(failed).toMatchObject({ code });
        expect(failed.message).not.toContain("\x1b");
        if (code !== "resource_exhausted" || headers["retry-after"] === undefined)
          expect(failed.message).toContain(registry.host);
      },
    );
  });

  test("one that does not answer, answers without end, or redirects in circles", async () => {
    const cases: [Handler, string, RegExp][] = [
      [() => true, "unavailable", /cannot be reached/],
      [
        (_, response) => {
          response.writeHead(200, { "content-type": MEDIA_TYPES.ociManifest });
          const flood = () => {
            if (!response.destroyed) response.write(Buffer.alloc(1 << 20, "x"), () => setImmediate(flood));
          };
          flood();
          return true;
        },
        "invalid_argument",
        /larger than/,
      ],
      [
        (request, response) => {
          response.writeHead(307, { location: request.url! });
          response.end();
          return true;
        },
        "unavailable",
        /redirected more than/,
      ],
      [
        (_, response) => {
          response.writeHead(307, { location: "ftp://127.0.0.1/x" });
          response.end();
          return true;
        },
        "unavailable",
        /no URL/,
      ],
    ];
    for (const [handle, code, message] of cases) {
      await withRegistry(
        (request, response, seen) =>
          seen.path.includes("/manifests/") ? handle(request, response, seen) : false,
        async (registry, bench) => {
          await expect(bench.pull(`${registry.host}/app:1`)).rejects.toMatchObject({
            code,
            message: expect.stringMatching(message),
          });
        },
      );
    }
  });

  test("a manifest that breaks off is asked for again", async () => {
    let broken = 2;
    await withRegistry(
      (_, response, { path }) => {
        if (!path.includes("/manifests/") || broken-- <= 0) return false;
        response.writeHead(200, { "content-type": MEDIA_TYPES.ociManifest, "content-length": 1000 });
        response.write("{", () => response.destroy());
        return true;
      },
      async (registry, bench) => {
        await bench.pull(`${registry.host}/app:1`);
        expect(registry.count(/manifests/)).toBe(3);
        broken = Number.POSITIVE_INFINITY;
        await expect(bench.pull(`${registry.host}/app:1`)).rejects.toMatchObject({
          code: "unavailable",
          message: expect.stringMatching(/broke off/),
        });
      },
    );
  });

  test("who looks for it beside one that is cancelled still finds it", async () => {
    await using registry = await ScriptedRegistry.start();
    await using bench = await pullBench();
    const impatient = new AbortController();
    registry.handler = (_, response, { path }) => {
      if (path !== "/v2/") return false;
      registry.handler = () => false;
      impatient.abort();
      response.socket!.destroy();
      return true;
    };
    const reference = `${registry.host}/app:1`;
    const [first, second] = await Promise.allSettled([
      bench.pull(reference, { signal: impatient.signal }),
      bench.pull(reference),
    ]);
    expect(first).toMatchObject({ status: "rejected", reason: { code: "cancelled" } });
    expect(second).toMatchObject({ status: "fulfilled" });
  });

  test("one behind a proxy, by a name that only the proxy knows", async () => {
    await using registry = await ScriptedRegistry.start();
    const [, port] = registry.host.split(":");
    await using proxy = await TunnelProxy.start(Number(port));
    await using bench = await pullBench({}, { HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url });
    await bench.write("images.json", { registries: { "registry.test": { insecure: true } } });
    await bench.pull("registry.test/app:1");
    expect(new Set(proxy.asked)).toEqual(new Set(["registry.test:443", "registry.test:80"]));
    const asked = proxy.asked.length;
    await bench.pull(`${registry.host}/app:1`); // what is on this machine needs none
    expect(proxy.asked.length).toBe(asked);
  });

  test("one that is not there", async () => {
    await using bench = await pullBench();
    await expect(bench.pull("127.0.0.1:1/app:1")).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(/nothing listens/),
    });
    await expect(bench.pull("no-such-host.invalid/app:1")).rejects.toMatchObject({
      code: "unavailable",
      hint: expect.any(String),
    });
  });
});
