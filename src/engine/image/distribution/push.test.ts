import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import type { Handler } from "./testing/scripted-registry.ts";
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
    await expect(bench.push("msb/mine")).rejects.toMatchObject({ code: "invalid_argument", hint: /HOST/ });
  });
});
