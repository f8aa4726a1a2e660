import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { type Handler, ScriptedRegistry } from "./testing/scripted-registry.ts";
import { withRegistry } from "./testing/with-registry.ts";

test("a push is pulled back as it was; what the registry has is not sent again, and what breaks off is", async () => {
  const uploads = new Map<string, Buffer>();
  let broken = 1;
  const handler: Handler = async (request, response, { method, path }) => {
    const answer = (status: number, headers = {}) => {
      response.writeHead(status, headers);
      response.end();
      return true;
    };
    if (method === "HEAD") return answer(uploads.has(path.split("/").at(-1)!) ? 200 : 404);
    if (method === "POST") return answer(202, { location: "/v2/up/blobs/uploads/1?state=x" });
    if (method !== "PUT") return false;
    if (path.includes("/uploads/") && broken-- > 0) {
      request.destroy();
      return true;
    }
    const body = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>));
    const digest = new URL(path, "http://x").searchParams.get("digest") ?? path;
    uploads.set(digest, body);
    return answer(201);
  };
  await withRegistry(undefined, async (registry, bench) => {
    await bench.pull(`${registry.host}/app:1`);
    registry.handler = handler;
    const pushed = await bench.push(`${registry.host}/app:1`, { reference: `${registry.host}/up:2` });
    expect(pushed.reference).toBe(`${registry.host}/up:2`);
    for (const [digest, body] of uploads) {
      if (digest.startsWith("sha256:"))
        expect(`sha256:${createHash("sha256").update(body).digest("hex")}`).toBe(digest);
    }
    expect(uploads.has(registry.image.config)).toBe(true);
    const puts = () => registry.seen.filter(({ method }) => method === "PUT").length;
    const before = puts();
    await bench.push(`${registry.host}/app:1`, { reference: `${registry.host}/up:2` });
    expect(puts()).toBe(before + 1); // the manifest
    await expect(bench.push("msb/none")).rejects.toMatchObject({ code: "not_found" });
    await bench.ws.store.tag(`${registry.host}/app:1`, "msb/mine");
    await expect(bench.push("msb/mine")).rejects.toMatchObject({
      code: "invalid_argument",
      hint: expect.stringMatching(/HOST/),
    });
  });
});

describe("a registry that is not to be trusted with a push", () => {
  /** Takes an upload as far as `change` lets it. */
  const uploads =
    (location: () => string | undefined, change: Handler = () => false): Handler =>
    async (request, response, seen) => {
      if (await change(request, response, seen)) return true;
      if (!["HEAD", "POST", "PUT"].includes(seen.method)) return false;
      await Array.fromAsync(request as AsyncIterable<Buffer>);
      const to = location();
      if (seen.method === "HEAD") response.writeHead(404);
      else if (seen.method === "PUT") response.writeHead(201);
      else response.writeHead(202, to === undefined ? {} : { location: to });
      response.end();
      return true;
    };

  test("credentials do not go with a blob to where else it is to be sent", async () => {
    await using storage = await ScriptedRegistry.start();
    storage.handler = uploads(() => undefined);
    await withRegistry(undefined, async (registry, bench) => {
      await bench.pull(`${registry.host}/app:1`);
      const wanted = `Basic ${Buffer.from("u:p").toString("base64")}`;
      await bench.credentials.keep(registry.host, { username: "u", password: "p" });
      registry.handler = uploads(
        () => `http://${storage.host}/upload?x=1`,
        (_, response, { authorization, path }) => {
          if (authorization === wanted || path === "/v2/") return false;
          response.writeHead(401, { "www-authenticate": 'Basic realm="test"' });
          response.end();
          return true;
        },
      );
      await bench.push(`${registry.host}/app:1`);
      expect(storage.seen.map(({ method, authorization }) => [method, authorization])).toEqual(
        Array(3).fill(["PUT", undefined]),
      );
      expect(storage.seen[0]!.path).toMatch(/^\/upload\?x=1&digest=sha256%3A[0-9a-f]{64}$/);
    });
  });

  test.each<[string, Handler, string, RegExp]>([
    ["says nowhere where to send it", uploads(() => undefined), "unavailable", /does not say where/],
    ["says what is no address", uploads(() => "http://[x"), "unavailable", /does not say where/],
    [
      "does not allow it",
      uploads(
        () => "/up",
        (_, response, { method }) => {
          if (method !== "POST") return false;
          response.writeHead(403);
          response.end();
          return true;
        },
      ),
      "permission_denied",
      /does not allow it/,
    ],
    [
      "keeps another manifest",
      uploads(
        () => "/up",
        (_, response, { method, path }) => {
          if (method !== "PUT" || !path.includes("/manifests/")) return false;
          response.writeHead(201, { "docker-content-digest": `sha256:${"0".repeat(64)}` });
          response.end();
          return true;
        },
      ),
      "unavailable",
      /stored something else/,
    ],
  ])("one that %s", async (_, handler, code, message) => {
    await withRegistry(undefined, async (registry, bench) => {
      await bench.pull(`${registry.host}/app:1`);
      registry.handler = handler;
      await expect(bench.push(`${registry.host}/app:1`)).rejects.toMatchObject({
        code,
        message: expect.stringMatching(message),
      });
      expect((await bench.left()).filter((file) => file.startsWith("incoming/"))).toEqual([]);
    });
  });
});
