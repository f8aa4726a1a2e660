import { afterAll, beforeAll, expect, test } from "vitest";
import { Daemon } from "../src/sdk/index.ts";
import { Internet, PRIVATE_ADDRESS, PUBLIC_ADDRESS } from "./internet.ts";
import { SandboxDriver } from "./sandbox-driver.ts";

/** What a sandbox reaches of an internet, where there is one. */

const possible = process.platform === "linux" && process.getuid?.() === 0;
let driver: SandboxDriver;
let internet: Internet;
beforeAll(async () => {
  if (!possible) return;
  internet = await Internet.open();
  driver = await SandboxDriver.open("inet", { image: false });
  const { connection } = driver;
  await internet.startDaemon(driver.home, async () => (await Daemon.status({ connection })) !== undefined);
  await driver.importBase();
});
afterAll(async () => {
  await driver?.[Symbol.asyncDispose]();
  await internet?.[Symbol.asyncDispose]();
});

test.skipIf(!possible)(
  "the public internet is reached, and its private neighbour is not (needs root)",
  async () => {
    await using sandbox = await driver.create({ network: { scope: "public" } });
    const { stdout } = await sandbox.shell(`wget -q -O - http://${PUBLIC_ADDRESS}/`);
    expect(stdout).toBe("hello from the internet\n");
    const { stderr } = await sandbox.shell(`wget -O - http://${PRIVATE_ADDRESS}/`);
    expect(stderr).toContain("403 Forbidden");
    await using any = await driver.create({ network: { scope: "any" } });
    expect((await any.shell(`wget -q -O - http://${PRIVATE_ADDRESS}/`)).stdout).toBe(
      "hello from the internet\n",
    );
  },
);
