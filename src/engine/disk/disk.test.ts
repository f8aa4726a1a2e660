import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SandboxError } from "../../contract/errors.ts";
import { createQcow2, readQcow2Info, vmdkDescriptor } from "./index.ts";
import { cutWritesShort } from "./short-writes.test-support.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "msb-disk-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// QEMU's own opinion, where its tools are installed, on top of checks that always run.
const qemuImg = spawnSync("qemu-img", ["--version"]).error === undefined;
const qemuIo = spawnSync("qemu-io", ["--version"]).error === undefined;

describe("qcow2 overlays", () => {
  test.each([512, 2 ** 20, 64 * 2 ** 30, 2 ** 40 + 512, 64 * 2 ** 40])(
    "of %d bytes",
    async (virtualSizeBytes) => {
      const path = join(folder, `${virtualSizeBytes}.qcow2`);
      await createQcow2(path, { virtualSizeBytes });
      expect(await readQcow2Info(path)).toEqual({
        version: 3,
        virtualSizeBytes,
        clusterBytes: 65_536,
        backingFile: undefined,
        dirty: false,
        corrupt: false,
      });
      const { blocks, mode } = statSync(path);
      expect(blocks * 512).toBeLessThan(64 * 1024);
      expect(mode & 0o777).toBe(0o600);
      checkReferences(readFileSync(path));
      if (qemuImg) {
        const check = spawnSync("qemu-img", ["check", "-f", "qcow2", path], { encoding: "utf8" });
        expect({ status: check.status, output: check.stdout + check.stderr }).toMatchObject({ status: 0 });
        const info = JSON.parse(
          execFileSync("qemu-img", ["info", "--output=json", path], { encoding: "utf8" }),
        );
        expect(info).toMatchObject({ format: "qcow2", "virtual-size": virtualSizeBytes });
      }
    },
  );

  /** Each cluster is counted once, and by the structure that stands in it: what `qemu-img check` checks. */
  function checkReferences(file: Buffer): void {
    const cluster = 65_536;
    expect(file.length % cluster).toBe(0);
    const refcountBlock = Number(file.readBigUInt64BE(Number(file.readBigUInt64BE(48))));
    const l1 = Number(file.readBigUInt64BE(40));
    const l1Clusters = Math.ceil((file.readUInt32BE(36) * 8) / cluster);
    expect(file.length).toBe(l1 + l1Clusters * cluster);
    for (let i = 0; i < cluster / 2; i++) {
      const counted = file.readUInt16BE(refcountBlock + 2 * i);
      if (counted !== (i < file.length / cluster ? 1 : 0))
        throw new Error(`cluster ${i} is counted ${counted} times`);
    }
    expect(file.subarray(l1).every((byte) => byte === 0)).toBe(true);
  }

  test("are the same when their writes are cut short", async () => {
    const [whole, cut] = ["whole", "cut"].map((name) => join(folder, name)) as [string, string];
    await createQcow2(whole, { virtualSizeBytes: 2 ** 30 });
    await using _ = await cutWritesShort();
    await createQcow2(cut, { virtualSizeBytes: 2 ** 30 });
    expect(readFileSync(cut).equals(readFileSync(whole))).toBe(true);
  });

  test("take a backing node, keep what is written and grow beyond it", async () => {
    const overlay = join(folder, "overlay.qcow2");
    await createQcow2(overlay, { virtualSizeBytes: 2 ** 30 });
    if (!qemuIo) return expect((await readQcow2Info(overlay)).backingFile).toBeUndefined();
    const base = join(folder, "base.raw");
    writeFileSync(base, Buffer.alloc(2 ** 20, 0x42));
    const image = `json:${JSON.stringify({
      driver: "qcow2",
      file: { driver: "file", filename: overlay },
      backing: { driver: "raw", file: { driver: "file", filename: base }, "read-only": true },
    })}`;
    const io = (...commands: string[]) =>
      execFileSync("qemu-io", [...commands.flatMap((command) => ["-c", command]), image], {
        encoding: "utf8",
      });
    expect(io("read -P 0x42 0 1M", "write -P 7 4k 4k", "write -P 8 900M 64k")).not.toMatch(/failed|error/i);
    expect(io("read -P 7 4k 4k", "read -P 0x42 8k 64k", "read -P 8 900M 64k", "read -P 0 1M 1M")).not.toMatch(
      /failed/,
    );
    expect(readFileSync(base).equals(Buffer.alloc(2 ** 20, 0x42))).toBe(true);
  });

  test("refuse sizes that no disk has, and never overwrite", async () => {
    for (const virtualSizeBytes of [0, -512, 1000, 1.5, Number.NaN, 2 ** 50]) {
      const path = join(folder, "bad.qcow2");
      await expect(createQcow2(path, { virtualSizeBytes })).rejects.toMatchObject({
        code: "invalid_argument",
      });
    }
    const path = join(folder, "twice.qcow2");
    await createQcow2(path, { virtualSizeBytes: 512 });
    await expect(createQcow2(path, { virtualSizeBytes: 512 })).rejects.toMatchObject({
      code: "already_exists",
    });
    await expect(createQcow2(join(folder, "no/such"), { virtualSizeBytes: 512 })).rejects.toMatchObject({
      code: "not_found",
    });
  });

  test("a damaged header is invalid_argument, naming the file", async () => {
    const path = join(folder, "header.qcow2");
    await createQcow2(path, { virtualSizeBytes: 2 ** 30 });
    const good = readFileSync(path);
    const lies: [number, number][] = [
      [0, 0x51464900],
      [4, 9],
      [20, 40],
      [24, 0xffffffff],
      [36, 0xffffffff],
      [36, 0],
      [40, 0x10000000],
      [52, 0x7fff0000],
      [72, 0xffffffff],
      [96, 7],
      [100, 1],
    ];
    for (const [at, value] of lies) {
      const bad = Buffer.from(good);
      bad.writeUInt32BE(value, at);
      writeFileSync(path, bad);
      await expect(readQcow2Info(path), `at ${at}`).rejects.toMatchObject({
        code: "invalid_argument",
        message: expect.stringContaining(path),
      });
    }
    for (const length of [0, 3, 71, 100]) {
      writeFileSync(path, good.subarray(0, length));
      await expect(readQcow2Info(path)).rejects.toMatchObject({ code: "invalid_argument" });
    }
    for (let i = 0; i < 3000; i++) {
      const bad = Buffer.from(good.subarray(0, 512));
      bad[(i * 7) % 112] = (i * 31) & 0xff;
      writeFileSync(path, bad);
      await readQcow2Info(path).catch((error) => {
        if (!(error instanceof SandboxError) || error.code !== "invalid_argument") throw error;
      });
    }
    await expect(readQcow2Info(join(folder, "absent"))).rejects.toMatchObject({ code: "not_found" });
  });
});

describe("VMDK descriptors", () => {
  test("list their files in order, long ones in parts, empty ones not at all", () => {
    const text = vmdkDescriptor([
      { file: "meta.erofs", sizeBytes: 4096 },
      { file: "blob-000", sizeBytes: 0 },
      { file: "blob-001", sizeBytes: 3 * 2 ** 40 },
    ]);
    expect(text.split("\n").filter((line) => line.startsWith("RW"))).toEqual([
      'RW 8 FLAT "meta.erofs" 0',
      `RW ${2 ** 32} FLAT "blob-001" 0`,
      `RW ${2 ** 31} FLAT "blob-001" ${2 ** 32}`,
    ]);
    expect(text).toContain('createType="twoGbMaxExtentFlat"');
  });

  test("are what QEMU reads", () => {
    writeFileSync(join(folder, "a"), Buffer.alloc(4096, 1));
    writeFileSync(join(folder, "b"), "");
    truncateSync(join(folder, "b"), 3 * 2 ** 40);
    // A file that looks like an image must stay a file: formats of extents must not be guessed.
    writeFileSync(
      join(folder, "c"),
      Buffer.concat([Buffer.from("QFI\xfb\0\0\0\x03", "latin1"), Buffer.alloc(504, 3)]),
    );
    const sizes = [4096, 3 * 2 ** 40, 512];
    const text = vmdkDescriptor(["a", "b", "c"].map((file, i) => ({ file, sizeBytes: sizes[i]! })));
    const path = join(folder, "joined.vmdk");
    writeFileSync(path, text);
    expect(text.indexOf("CID=")).toBeLessThan(10_240);
    if (!qemuIo) return;
    const end = 4096 + 3 * 2 ** 40;
    const commands = [
      "read -P 1 0 4k",
      "read -P 0 4k 64k",
      `read -P 0 ${2 ** 41} 64k`,
      `read -P 3 ${end + 8} 504`,
    ];
    const output = execFileSync("qemu-io", ["-r", ...commands.flatMap((command) => ["-c", command]), path], {
      encoding: "utf8",
    });
    expect(output).not.toMatch(/failed|error/i);
    expect(output.match(/bytes at offset/g)).toHaveLength(4);
  });

  test("refuse what the format cannot hold", () => {
    for (const extents of [
      [],
      [{ file: "a", sizeBytes: 0 }],
      [{ file: "a", sizeBytes: 513 }],
      [{ file: "a", sizeBytes: -512 }],
      [{ file: 'a"b', sizeBytes: 512 }],
      [{ file: 'a\nRW 1 FLAT "/etc/shadow" 0', sizeBytes: 512 }],
      [{ file: "../a", sizeBytes: 512 }],
      [{ file: "..", sizeBytes: 512 }],
      Array.from({ length: 60_000 }, (_, i) => ({ file: `f${i}`, sizeBytes: 512 })),
    ]) {
      expect(() => vmdkDescriptor(extents)).toThrow(expect.objectContaining({ code: "invalid_argument" }));
    }
  });
});
