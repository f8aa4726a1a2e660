import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Pool } from "../src/sdk/index.ts";
import { clockError, WRONG_MS } from "./guest-clock.ts";
import { SandboxDriver, until } from "./sandbox-driver.ts";

/** Twenty sandboxes of one pool: no two of them draw the same, are called the same, or think that it is another time than it is. */
const CLAIMS = 20;
const IMAGE = "msb/python";
const AT_ONCE = 5;

let driver: SandboxDriver;
beforeAll(async () => {
  driver = await SandboxDriver.open("pool-identity", {
    image: false,
  });
  await writeFile(join(driver.home, "pool.json"), '{ "cpuShare": 1 }');
  await driver.importImage("python");
});
afterAll(() => driver?.[Symbol.asyncDispose]());

const DRAW = `
import os, random, secrets, socket, ssl, uuid
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.connect(("10.209.0.1", 53))
read = lambda path: open(path).read().strip()
print(os.getrandom(16).hex(), uuid.uuid4(), secrets.token_hex(16), ssl.RAND_bytes(16).hex(), random.random(),
      read("/etc/machine-id"), socket.gethostname(), link.getsockname()[0], read("/sys/class/net/eth0/address"),
      read("/proc/net/if_inet6").replace(" ", "_").replace("\\n", "+"))
`;
const DRAWN = 10;

test(`${CLAIMS} claims have nothing in common, and the right time`, { timeout: 400_000 }, async () => {
  const options = { connection: driver.connection };
  await Pool.set({ image: IMAGE, count: AT_ONCE }, options);
  const drawn: string[][] = [];
  while (drawn.length < CLAIMS) {
    const full = async () => (await Pool.list(options))[0]!.ready === AT_ONCE;
    await until(full, "the pool is full", 110_000);
    for (let i = 0; i < AT_ONCE; i++) {
      const sandbox = await driver.create({ image: IMAGE });
      expect(sandbox.info.timings.map(({ name }) => name)).toContain("claim");
      expect(await clockError(sandbox)).toBeLessThanOrEqual(WRONG_MS);
      const { stdout, stderr } = await sandbox.exec("python3", ["-c", DRAW]);
      expect(stderr).toBe("");
      // They stay: the addresses of one that is removed are given to another.
      drawn.push(stdout.trim().split(" "));
    }
  }
  for (let column = 0; column < DRAWN; column++)
    expect(new Set(drawn.map((values) => values[column])).size).toBe(CLAIMS);
  expect((await Pool.list(options))[0]).toMatchObject({ hits: CLAIMS, misses: 0 });
});
