import { expect } from "vitest";
import { Sandbox, SandboxError } from "../src/sdk/index.ts";
import type { SandboxDriver } from "./sandbox-driver.ts";

/** Everything that a failed create could leave. */
export async function traces(driver: SandboxDriver) {
  const sandboxes = await Sandbox.list({ connection: driver.connection });
  return {
    listed: sandboxes.map(({ name }) => name),
    vms: await driver.vmPids(),
    sandboxes: await driver.files("sandboxes"),
    run: (await driver.files("run")).filter((name) => !name.startsWith("daemon.")),
    halfMade: [...(await driver.files("templates")), ...(await driver.files("assets"))].filter((name) =>
      name.includes("partial"),
    ),
  };
}

/** What a failure must say. */
interface Said {
  code: string;
  /** The thing's own name. */
  names: string;
  hint: RegExp;
}

/** The action fails as told and leaves nothing. */
export async function fails(
  driver: SandboxDriver,
  action: () => Promise<unknown>,
  said: Said,
): Promise<SandboxError> {
  const before = await traces(driver);
  const error = await action().then(
    () => undefined,
    (thrown) => thrown,
  );
  expect(error).toBeInstanceOf(SandboxError);
  expect(error).toMatchObject({ code: said.code, message: expect.stringContaining(said.names) });
  expect(error.hint).toMatch(said.hint);
  expect(await traces(driver)).toEqual(before);
  return error;
}
