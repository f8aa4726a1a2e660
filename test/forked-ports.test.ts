import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Sandbox } from "../src/sdk/index.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** Published ports of sandboxes that come of one. */
describe("a sandbox that publishes a port", () => {
  let driver: SandboxDriver;
  beforeAll(async () => {
    driver = await SandboxDriver.open("forked-ports");
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  const get = async ({ info }: Sandbox) => (await fetch(`http://127.0.0.1:${info.ports![0]!.host}/`)).text();

  async function freePort(): Promise<number> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    return port;
  }

  test("has children with ports of their own, and is restored with its own", async () => {
    const host = await freePort();
    const box = await driver.create({ network: { ports: [{ host, guest: 8000 }] } });
    await box.shell("mkdir /www && echo parent > /www/index.html && httpd -p 8000 -h /www");
    const children = await box.fork({ count: 2 });
    const ports = [box, ...children].map(({ info }) => info.ports![0]!.host);
    expect(ports[0]).toBe(host);
    expect(new Set(ports).size).toBe(3);
    await children[0]!.shell("echo child > /www/index.html");
    expect(await Promise.all([box, ...children].map(get))).toEqual(["parent\n", "child\n", "parent\n"]);

    const snapshot = await box.snapshot();
    await expect(snapshot.restore()).rejects.toMatchObject({ message: expect.stringContaining(`${host}`) });
    await box.remove({ force: true });
    const [again] = await snapshot.restore();
    expect(again!.info.ports).toMatchObject([{ host }]);
    expect(await get(again!)).toBe("parent\n");
    for (const each of [again!, ...children]) await each.remove({ force: true });
  });
});
