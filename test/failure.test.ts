import { execFile, execFileSync } from "node:child_process";
import { mkdir, open, rm, writeFile } from "node:fs/promises";
import { totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeCpio } from "../guest/boot/cpio.ts";
import { Daemon, Sandbox } from "../src/sdk/index.ts";
import { alteredAssets } from "./altered-assets.ts";
import { fails, traces } from "./fails.ts";
import { pathWithout } from "./path-without.ts";
import { BASE_IMAGE, SandboxDriver, until } from "./sandbox-driver.ts";

const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;

/** Exit code of `msb run` for an error of ours; 126 and 127 are the command's. */
const OURS = 125;

describe("what was asked for cannot be", () => {
  let driver: SandboxDriver;
  beforeAll(async () => {
    driver = await SandboxDriver.open("wrong");
    await driver.create({ name: "bystander" });
  });
  afterAll(() => driver?.[Symbol.asyncDispose]());

  test("an unknown image", async () => {
    await fails(driver, () => driver.create({ image: "msb/no-such-image" }), {
      code: "not_found",
      names: "msb/no-such-image",
      hint: /msb\/base/,
    });
    const { code, stderr } = await driver.msb(["run", "msb/no-such-image", "--", "true"]);
    expect(code).toBe(OURS);
    expect(stderr).toMatch(/^msb: .*msb\/no-such-image/m);
    expect(stderr).toMatch(/^hint: /m);
  });

  test("a name that is taken", async () => {
    await fails(driver, () => driver.create({ name: "bystander" }), {
      code: "already_exists",
      names: "'bystander'",
      hint: /msb rm --force bystander/,
    });
    const { code } = await driver.msb(["run", "--name", "bystander", BASE_IMAGE, "--", "true"]);
    expect(code).toBe(OURS);
    // The one that had it has not noticed.
    expect(
      (await (await Sandbox.get("bystander", { connection: driver.connection })).exec("true")).exitCode,
    ).toBe(0);
  });

  // The rule that was broken is the hint.
  for (const [what, options, message] of [
    ["a bad name", { name: "-no/name" }, /`name`: a name has/],
    ["too little memory", { memoryMiB: 64 }, /`memoryMiB`: must be at least 128/],
    ["no CPU", { cpus: 0 }, /`cpus`: must be at least 1/],
    ["too many CPUs", { cpus: 65 }, /`cpus`: must be at most 64/],
    ["half a CPU", { cpus: 0.5 }, /`cpus`: must be a whole number/],
    ["a disk too small", { diskMiB: 1 }, /`diskMiB`: must be at least \d+/],
  ] as const) {
    test(what, async () => {
      const before = await traces(driver);
      await expect(driver.create(options)).rejects.toMatchObject({
        code: "invalid_argument",
        message: expect.stringMatching(message),
      });
      expect(await traces(driver)).toEqual(before);
    });
  }

  test("is told by the command line in the words of its flags", async () => {
    const { code, stderr } = await driver.msb([
      "run",
      "--cpus",
      "0",
      "--memory",
      "1M",
      BASE_IMAGE,
      "--",
      "true",
    ]);
    expect(code).toBe(OURS);
    expect(stderr).toMatch(/--cpus/);
    expect(stderr).toMatch(/--memory|memory/);
  });

  test("more memory than the host has", async () => {
    const memoryMiB = Math.ceil(totalmem() / 1024 ** 2) + 1024;
    await fails(driver, () => driver.create({ memoryMiB }), {
      code: "resource_exhausted",
      names: `${memoryMiB} MiB`,
      hint: /less/,
    });
  });

  test("a command that is not there is 127, one that cannot be executed 126", async () => {
    const before = await traces(driver);
    const missing = await driver.msb(["run", BASE_IMAGE, "--", "no-such-command"]);
    expect([missing.code, missing.stdout]).toEqual([127, ""]);
    expect(missing.stderr).toMatch(/no-such-command/);
    const denied = await driver.msb(["run", BASE_IMAGE, "--", "/etc/passwd"]);
    expect([denied.code, denied.stdout]).toEqual([126, ""]);
    expect(denied.stderr).toMatch(/\/etc\/passwd/);
    expect(await traces(driver)).toEqual(before);
  });

  test("a main command that is not there leaves no sandbox", async () => {
    const before = await traces(driver);
    await expect(driver.create({ command: ["no-such-command"] })).rejects.toMatchObject({
      code: "not_found",
      details: { exitCode: 127 },
    });
    expect(await traces(driver)).toEqual(before);
  });
});

describe("the host lacks something", () => {
  test("QEMU is missing", async () => {
    await using programs = await pathWithout("qemu-system-x86_64");
    await using driver = await SandboxDriver.open("noqemu", { env: { PATH: programs.path } });
    const said = { code: "not_found", names: "qemu-system-x86_64", hint: /apt-get install qemu-system-x86/ };
    await fails(driver, () => driver.create(), said);
    const { code, stderr } = await driver.msb(["run", BASE_IMAGE, "--", "true"]);
    expect([code, stderr]).toEqual([OURS, expect.stringMatching(/^hint: .*apt-get install/m)]);
    // It is looked for again when it may be there.
    await fails(driver, () => driver.create(), said);
  });

  test("QEMU is too old", async () => {
    await using old = await pathWithout("");
    const qemu = join(old.path, "old-qemu");
    await writeFile(qemu, "#!/bin/sh\necho 'QEMU emulator version 7.2.0 (Debian 1:7.2+dfsg-7)'\n", {
      mode: 0o755,
    });
    await using driver = await SandboxDriver.open("oldqemu", { env: { MSB_QEMU: qemu } });
    const error = await fails(driver, () => driver.create(), {
      code: "unsupported",
      names: qemu,
      hint: /backports/,
    });
    expect(error.message).toMatch(/7\.2\.0.*8\.2/);
  });

  test("MSB_QEMU names what is no program", async () => {
    await using driver = await SandboxDriver.open("notqemu", { env: { MSB_QEMU: "/etc/passwd" } });
    await fails(driver, () => driver.create(), { code: "not_found", names: "/etc/passwd", hint: /MSB_QEMU/ });
  });

  test("a boot asset is corrupted", async () => {
    await using assets = await alteredAssets(
      {
        vmlinux: (bytes) => {
          bytes[bytes.length >> 1]! ^= 1;
          return bytes;
        },
      },
      false,
    );
    await using driver = await SandboxDriver.open("badasset", { env: { MSB_ASSETS: assets.directory } });
    await fails(driver, () => driver.create(), {
      code: "internal",
      names: join(assets.directory, "vmlinux"),
      hint: /quickstart/,
    });
    expect(await driver.files("assets")).toEqual([]);
  });

  test("a boot asset is corrupted after it was copied into the home", async () => {
    await using driver = await SandboxDriver.open("rotten", { ownTemplates: true });
    const first = await driver.create({ memoryMiB: 192 });
    const [hash] = await driver.files("assets");
    const kernel = join(driver.home, "assets", hash!, "vmlinux");
    await flipByte(kernel);
    // What runs and what is stored does not need it; what is built anew does.
    expect((await first.exec("echo", ["well"])).stdout).toBe("well\n");
    await fails(driver, () => driver.create({ memoryMiB: 200 }), {
      code: "internal",
      names: kernel,
      hint: /Remove .* try again/,
    });
  });

  test("the guest's agent stays silent", async () => {
    // A guest whose first process is busybox, which waits for a terminal for ever.
    const image = fileURLToPath(new URL("../build/images/msb-base.tar", import.meta.url));
    const busybox = execFileSync("tar", ["-xOf", image, "./usr/bin/busybox"], { maxBuffer: 1024 ** 3 });
    const initramfs = writeCpio([
      { kind: "directory", path: "dev", mode: 0o755 },
      { kind: "character-device", path: "dev/console", mode: 0o600, major: 5, minor: 1 },
      { kind: "file", path: "init", mode: 0o755, content: busybox },
    ]);
    await using assets = await alteredAssets({ "initramfs.cpio": () => initramfs }, true);
    await using driver = await SandboxDriver.open("silent", {
      ownTemplates: true,
      env: { MSB_ASSETS: assets.directory, MSB_BOOT_TIMEOUT_MS: "1500", MSB_ACCELERATOR: "tcg" },
    });
    await fails(driver, () => driver.create(), { code: "timeout", names: "1500 ms", hint: /msb doctor/ });
    expect(await driver.files("templates")).toEqual([]);
  });

  test("a deadline for booting that is no number", async () => {
    await using driver = await SandboxDriver.open("soon", { env: { MSB_BOOT_TIMEOUT_MS: "soon" } });
    await fails(driver, () => driver.create(), { code: "invalid_argument", names: "'soon'", hint: /number/ });
  });
});

describe.runIf(isRoot)("the disk is full", () => {
  const MIB = 1024 ** 2;
  let driver: SandboxDriver;
  let mounted: string | undefined;
  beforeAll(async () => {
    driver = await SandboxDriver.open("full", {
      ownTemplates: true,
      env: { MSB_ACCELERATOR: "tcg" },
      prepare: async (home) => {
        await mkdir(home, { mode: 0o711 });
        await run("mount", ["-t", "tmpfs", "-o", "size=700m,mode=711", "none", home]);
        mounted = home;
      },
    });
  });
  afterAll(async () => {
    // The driver cannot remove a folder on which something is mounted.
    await Daemon.stop({ connection: driver.connection }).catch(() => {});
    if (mounted !== undefined) await run("umount", ["--lazy", mounted]);
    await driver?.[Symbol.asyncDispose]();
  });

  /** Takes all that is free, but for `leave` bytes. */
  async function fill(leave = 0): Promise<void> {
    const file = await open(join(driver.home, "filler"), "w");
    const piece = Buffer.alloc(MIB);
    let written = 0;
    try {
      for (;;) written += (await file.write(piece)).bytesWritten;
    } catch (error) {
      expect(error).toMatchObject({ code: "ENOSPC" });
      await file.truncate(Math.max(0, written - leave));
    } finally {
      await file.close();
    }
  }
  const empty = () => rm(join(driver.home, "filler"), { force: true });

  test("while a template is built", async () => {
    const memoryThere = async () => {
      const [half] = (await driver.files("templates")).filter((name) => name.includes("partial"));
      return half !== undefined && (await driver.files(join("templates", half))).includes("memory");
    };
    try {
      await fails(
        driver,
        async () => {
          const creating = driver.create();
          creating.catch(() => {});
          await until(memoryThere, "the guest boots");
          await fill();
          await creating;
        },
        { code: "resource_exhausted", names: "disk is full", hint: /MSB_HOME/ },
      );
    } finally {
      await empty();
    }
    expect(await driver.files("templates")).toEqual([]);
  });

  test("before one is built", async () => {
    await fill(64 * MIB);
    try {
      const error = await fails(driver, () => driver.create(), {
        code: "resource_exhausted",
        names: "256 MiB",
        hint: /Free some space/,
      });
      expect(error.details).toMatchObject({ neededMiB: 256 });
    } finally {
      await empty();
    }
    expect(await driver.files("templates")).toEqual([]);
  });

  test("and when there is room again it goes on as before", async () => {
    await using sandbox = await driver.create();
    expect((await sandbox.exec("echo", ["room"])).stdout).toBe("room\n");
  });
});

async function flipByte(path: string): Promise<void> {
  const file = await open(path, "r+");
  try {
    const { size } = await file.stat();
    const at = size >> 1;
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    byte[0]! ^= 1;
    await file.write(byte, 0, 1, at);
  } finally {
    await file.close();
  }
}
