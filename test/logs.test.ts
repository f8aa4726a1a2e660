import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LogsOptions, Sandbox } from "../src/sdk/index.ts";
import { ended, SandboxDriver, until } from "./sandbox-driver.ts";

/** What processes wrote, as it is asked for: filtered by the daemon, the same in the SDK and on the command line. */
describe("logs", () => {
  let driver: SandboxDriver;
  let sandbox: Sandbox;
  beforeAll(async () => {
    driver = await SandboxDriver.open("logs");
    sandbox = await driver.create({ name: "logged" });
    await sandbox.shell("echo one; echo an error >&2");
    await sandbox.shell("echo two; printf 'no end, error'");
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  const texts = async (options: LogsOptions = {}) =>
    (await Array.fromAsync(sandbox.logs(options))).map(({ text }) => text).join("|");

  test("of one process, one stream, one text, and one time", async () => {
    const all = await Array.fromAsync(sandbox.logs());
    const numbers = [...new Set(all.map(({ process }) => process))];
    expect(numbers).toHaveLength(2);
    expect(await texts({ processes: [numbers[0]!], streams: ["stdout"] })).toBe("one\n");
    expect(await texts({ streams: ["stderr"] })).toBe("an error\n");
    expect(await texts({ grep: "error", tail: 1 })).toBe("no end, error");
    expect(await texts({ since: new Date() })).toBe("");
    expect(await texts({ until: all[0]!.time, processes: [numbers[1]!] })).toBe("");
    expect(await texts({ since: all[0]!.time, grep: "one" })).toBe("one\n");
    await expect(texts({ since: "yesterday" })).rejects.toMatchObject({ code: "invalid_argument" });
  });

  test("on the command line", async () => {
    const msb = async (...args: string[]) => driver.msb(["logs", ...args, "logged"]);
    expect(await msb("--grep", "error", "--stream", "stderr")).toMatchObject({
      code: 0,
      stdout: "",
      stderr: "an error\n",
    });
    expect((await msb("--since", "1h", "--grep", "two", "--json")).stdout).toMatch(
      /^\{"time":.*"text":"two\\n"\}\n$/,
    );
    expect((await msb("--until", "1h")).stdout).toBe("");
    expect((await msb("--process", "99")).stdout).toBe("");
    expect((await msb("--since", "soon")).stderr).toMatch(/a time is how long ago/);
    expect((await msb("--stream", "stdin")).code).toBe(2);
  });

  test("followed, as they come", async () => {
    const following = driver.startMsb(["logs", "--follow", "--grep", "wanted", "logged"]);
    let seen = "";
    following.stdout!.on("data", (chunk) => {
      seen += chunk;
    });
    const end = ended(following);
    await sandbox.shell("echo unwanted for sure; echo not this; printf 'want'; echo 'ed too'");
    await until(() => seen.includes("wanted too\n"), "the line has come");
    following.kill("SIGINT");
    expect((await end).code).toBe(130);
    expect(seen).toBe("unwanted for sure\nwanted too\n");
  });
});
