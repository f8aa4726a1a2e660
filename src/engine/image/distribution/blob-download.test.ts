import { describe, expect, test } from "vitest";
import { type Handler, testImage } from "./testing/scripted-registry.ts";
import { withRegistry } from "./testing/with-registry.ts";

const isBlob = (path: string, digest: string) => path.endsWith(`/blobs/${digest}`);

describe("a transfer goes on where it broke", () => {
  test("cut off, stalled, and reset: with ranges", async () => {
    let attempt = 0;
    const handler: Handler = (_, response, { path, range }) => {
      if (!isBlob(path, image.layers[0]!)) return false;
      const body = image.blobs.get(image.layers[0]!)!;
      const start = Number(/[0-9]+/.exec(range ?? "0")?.[0] ?? 0);
      attempt++;
      if (attempt > 3) return false;
      response.writeHead(start === 0 ? 200 : 206, {
        "content-length": body.length - start,
        ...(start === 0 ? {} : { "content-range": `bytes ${start}-${body.length - 1}/${body.length}` }),
      });
      response.write(body.subarray(start, start + 50_000));
      if (attempt === 1) setTimeout(() => response.destroy(), 20);
      if (attempt === 2) return true; // stalls
      if (attempt === 3) setTimeout(() => response.destroy(new Error("reset")), 20);
      return true;
    };
    const image = testImage();
    await withRegistry(
      handler,
      async (registry, bench) => {
        await bench.pull(`${registry.host}/app:1`);
        const ranges = registry.seen
          .filter(({ path }) => isBlob(path, image.layers[0]!))
          .map(({ range }) => range);
        expect(ranges).toHaveLength(4);
        expect(ranges.slice(1).every((range) => /^bytes=[0-9]{5,}-$/.test(range!))).toBe(true);
        expect(bench.layers.some(({ phase }) => phase === "retrying")).toBe(true);
      },
      image,
    );
  });

  test("a server that knows no ranges sends it all again, and one that gives another range is not believed", async () => {
    for (const mode of ["no ranges", "earlier", "later"]) {
      const image = testImage();
      let attempt = 0;
      const handler: Handler = (_, response, { path, range }) => {
        if (!isBlob(path, image.layers[0]!)) return false;
        const body = image.blobs.get(image.layers[0]!)!;
        attempt++;
        if (attempt === 1) {
          response.writeHead(200, { "content-length": body.length });
          response.write(body.subarray(0, 60_000));
          setTimeout(() => response.destroy(), 20);
          return true;
        }
        const asked = Number(/[0-9]+/.exec(range ?? "")?.[0]);
        const start = mode === "no ranges" ? 0 : mode === "earlier" ? asked - 100 : asked + 100;
        response.writeHead(mode === "no ranges" ? 200 : 206, {
          "content-length": body.length - start,
          ...(mode === "no ranges"
            ? {}
            : { "content-range": `bytes ${start}-${body.length - 1}/${body.length}` }),
        });
        response.end(body.subarray(start));
        return true;
      };
      await withRegistry(
        handler,
        async (registry, bench) => {
          const pulling = bench.pull(`${registry.host}/app:1`);
          if (mode === "later")
            await expect(pulling).rejects.toMatchObject({
              code: "unavailable",
              message: expect.stringMatching(/another range/),
            });
          else await pulling;
        },
        image,
      );
    }
  });

  test("a server that says that there is no such range is asked for it all", async () => {
    const image = testImage();
    let broken = true;
    await withRegistry(
      (_, response, { path, range }) => {
        if (!isBlob(path, image.layers[0]!)) return false;
        if (range !== undefined) {
          response.writeHead(416);
          response.end();
          return true;
        }
        if (!broken) return false;
        broken = false;
        const body = image.blobs.get(image.layers[0]!)!;
        response.writeHead(200, { "content-length": body.length });
        response.write(body.subarray(0, 60_000), () => response.destroy());
        return true;
      },
      async (registry, bench) => {
        await bench.pull(`${registry.host}/app:1`);
        const asked = registry.seen.filter(({ path }) => isBlob(path, image.layers[0]!));
        expect(asked.map(({ range }) => range !== undefined)).toEqual([false, true, false]);
      },
      image,
    );
  });

  test("without progress it is given up, and nothing is left half-way", async () => {
    await withRegistry(
      (_, response, { path }) => {
        if (!path.includes("/blobs/") || path.endsWith(registryConfig)) return false;
        response.writeHead(200, { "content-length": 1000 });
        response.flushHeaders();
        setTimeout(() => response.destroy(), 5);
        return true;
      },
      async (registry, bench) => {
        await expect(bench.pull(`${registry.host}/app:1`)).rejects.toMatchObject({
          code: "unavailable",
          message: expect.stringMatching(/layer sha256:/),
        });
        expect(await bench.left()).toEqual([]);
      },
    );
  });
  const registryConfig = testImage().config;
});
