import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  EventLog,
  installBootAssets,
  makeHome,
  openDatabase,
  SandboxTable,
  sweepBootAssets,
  verifyBootAssets,
} from "./index.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "msb-store-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("the home", () => {
  test("is made with its folders, also where the folders above it are missing", async () => {
    const paths = makeHome(join(folder, "a", "b"));
    expect((await readdir(paths.home)).sort()).toEqual([
      "assets",
      "images",
      "machine",
      "run",
      "sandboxes",
      "states",
      "templates",
      "volumes",
    ]);
    expect(statSync(paths.states).mode & 0o777).toBe(0o700);
    makeHome(join(folder, "a", "b"));
  });

  test("that cannot be written is permission_denied, naming it, and does not hang", async () => {
    expect(() => makeHome("/proc/nothing/here")).toThrowError(
      expect.objectContaining({
        code: "permission_denied",
        message: expect.stringContaining("/proc/nothing"),
        hint: expect.stringContaining("MSB_HOME"),
      }),
    );
    await writeFile(join(folder, "file"), "");
    expect(() => makeHome(join(folder, "file"))).toThrowError(
      expect.objectContaining({ code: "permission_denied" }),
    );
  });

  test("whose sockets would have too long a path is invalid_argument", () => {
    const long = join(folder, "x".repeat(90));
    expect(() => makeHome(long)).toThrowError(expect.objectContaining({ code: "invalid_argument" }));
  });
});

describe("the database", () => {
  test("gives back what was put, replaced and deleted, also after it was opened again", () => {
    const file = join(folder, "state.db");
    const row = { id: "1", name: "box", state: "running", createdAt: "2026-01-01", record: { a: [1, null] } };
    let table = new SandboxTable(openDatabase(file));
    table.put(row);
    table.put({ ...row, state: "stopped" });
    table.put({ ...row, id: "2", name: "other", createdAt: "2025-01-01" });
    table = new SandboxTable(openDatabase(file));
    expect(table.list().map(({ id, state }) => [id, state])).toEqual([
      ["2", "running"],
      ["1", "stopped"],
    ]);
    table.delete("2");
    expect(table.list()).toEqual([{ ...row, state: "stopped" }]);
  });

  test("of a newer version is left alone", () => {
    const file = join(folder, "state.db");
    const newer = new DatabaseSync(file);
    newer.exec("PRAGMA user_version = 99");
    newer.close();
    expect(() => openDatabase(file)).toThrowError(expect.objectContaining({ code: "unsupported" }));
  });

  test("that cannot be opened is permission_denied", () => {
    expect(() => openDatabase(join(folder, "no", "state.db"))).toThrowError(
      expect.objectContaining({ code: "permission_denied" }),
    );
  });
});

describe("events", () => {
  test("are told in order, old ones on request, new ones as they come, until the signal", async () => {
    const log = new EventLog(openDatabase(join(folder, "state.db")));
    log.add({ type: "one", data: { a: 1 } });
    log.add({ type: "two", sandbox: "x", message: "m" });
    const controller = new AbortController();
    const types: string[] = [];
    const reading = (async () => {
      for await (const event of log.subscribe({ since: 0, signal: controller.signal })) {
        types.push(event.type);
        if (event.type === "three") controller.abort();
      }
    })();
    await new Promise((resolve) => setImmediate(resolve));
    log.add({ type: "three" });
    await reading;
    expect(types).toEqual(["one", "two", "three"]);
  });

  test("a subscriber without a start hears only what comes", async () => {
    const log = new EventLog(openDatabase(join(folder, "state.db")));
    log.add({ type: "old" });
    const next = log.subscribe()[Symbol.asyncIterator]().next();
    await new Promise((resolve) => setImmediate(resolve));
    log.add({ type: "new" });
    expect((await next).value).toMatchObject({ type: "new", seq: 2 });
  });
});

describe("boot assets", () => {
  const env = () => ({ MSB_ASSETS: join(folder, "source") });
  beforeEach(async () => {
    await mkdir(join(folder, "source"));
    const files: Record<string, { sha256: string; size: number }> = {};
    for (const name of ["vmlinux", "initramfs.cpio", "blank.ext4"]) {
      await writeFile(join(folder, "source", name), name);
      files[name] = { sha256: createHash("sha256").update(name).digest("hex"), size: name.length };
    }
    const manifest = { version: 1, arch: "x64", hash: "0".repeat(64), blankDiskBytes: 4096, files };
    await writeFile(join(folder, "source", "manifest.json"), JSON.stringify(manifest));
  });

  test("are copied under their hash once, and stay when the source has gone on", async () => {
    const assets = await installBootAssets(join(folder, "assets"), env());
    expect(await readFile(join(assets.directory, assets.kernel), "utf8")).toBe("vmlinux");
    await verifyBootAssets(assets);
    await installBootAssets(join(folder, "assets"), env());
    expect(await readdir(join(folder, "assets"))).toEqual(["0".repeat(64)]);
  });

  test("that are corrupted are internal, naming the file, and are not taken in", async () => {
    await writeFile(join(folder, "source", "vmlinux"), "vmlinuz");
    await expect(installBootAssets(join(folder, "assets"), env())).rejects.toMatchObject({
      code: "internal",
      message: expect.stringMatching(/vmlinux.*corrupted/),
    });
    expect(await readdir(join(folder, "assets")).catch(() => [])).toEqual([]);
  });

  test("that became corrupted are found by hashing them again", async () => {
    const assets = await installBootAssets(join(folder, "assets"), env());
    await rm(join(assets.directory, "vmlinux"));
    await writeFile(join(assets.directory, "vmlinux"), "vmlinuz");
    await expect(verifyBootAssets(assets)).rejects.toMatchObject({ code: "internal" });
  });

  test("whose copy was interrupted are copied again, and the remains are swept", async () => {
    await mkdir(join(folder, "assets", `${"0".repeat(64)}.partial-1`), { recursive: true });
    await sweepBootAssets(join(folder, "assets"));
    expect(await readdir(join(folder, "assets"))).toEqual([]);
    const assets = await installBootAssets(join(folder, "assets"), env());
    await rm(join(assets.directory, "vmlinux"));
    await installBootAssets(join(folder, "assets"), env());
    await verifyBootAssets(assets);
  });
});
