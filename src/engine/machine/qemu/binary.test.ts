import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkVersion, findQemu, qemuName } from "./binary.ts";

describe("finding QEMU", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "msb-qemu-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const pretend = async (name: string, script: string) => {
    const path = join(folder, name);
    await writeFile(path, `#!/bin/sh\n${script}\n`);
    await chmod(path, 0o755);
    return path;
  };

  test("takes the first in PATH, with its version, hash and firmware folders", async () => {
    await pretend(
      qemuName(),
      'case $1 in -L) echo /usr/share/qemu;; *) echo "QEMU emulator version 9.2.1 (Debian)";; esac',
    );
    const found = await findQemu({ PATH: `/nowhere:${folder}` });
    expect(found).toMatchObject({ version: "9.2.1", firmwareDirectories: ["/usr/share/qemu"] });
    expect(found.hash).toMatch(/^[0-9a-f]{64}$/);
  });

  test("missing is not_found, naming what is missing and how to get it", async () => {
    await expect(findQemu({ PATH: "/nowhere" })).rejects.toMatchObject({
      code: "not_found",
      message: expect.stringContaining("qemu-system-"),
      hint: expect.stringContaining("apt-get install"),
    });
    await expect(findQemu({ MSB_QEMU: "/no/qemu", PATH: folder })).rejects.toMatchObject({
      code: "not_found",
      message: expect.stringContaining("/no/qemu"),
    });
  });

  test("that does not run, or does not say what it is, is told", async () => {
    const broken = await pretend("broken", "exit 3");
    await expect(findQemu({ MSB_QEMU: broken })).rejects.toMatchObject({ code: "unavailable" });
    const silent = await pretend("silent", "echo hello");
    await expect(findQemu({ MSB_QEMU: silent })).rejects.toMatchObject({ code: "unsupported" });
  });
});

test.each([
  ["8.2.0", true],
  ["8.10.0", true],
  ["10.0.2", true],
  ["11.0", true],
  ["8.1.5", false],
  ["7.2.22", false],
])("version %s is new enough: %s", (version, good) => {
  if (good) expect(() => checkVersion("/q", version)).not.toThrow();
  else
    expect(() => checkVersion("/q", version)).toThrowError(expect.objectContaining({ code: "unsupported" }));
});
