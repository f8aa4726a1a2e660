import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type TemplateInputs, templateKey } from "./key.ts";
import { TemplateStore } from "./store.ts";

const inputs: TemplateInputs = {
  cpus: 1,
  memoryMiB: 256,
  volumeSlots: 0,
  network: "",
  assets: "a".repeat(64),
  vmm: "qemu",
  version: "10.0.2",
  fingerprint: "f",
  accelerator: "tcg",
  cpuModel: "max",
  processor: "",
};

test("the key depends on every input and not on their order", () => {
  const key = templateKey(inputs);
  expect(key).toMatch(/^[0-9a-f]{32}$/);
  expect(templateKey(Object.fromEntries(Object.entries(inputs).reverse()) as unknown as TemplateInputs)).toBe(
    key,
  );
  for (const name of Object.keys(inputs) as (keyof TemplateInputs)[]) {
    const changed = typeof inputs[name] === "number" ? 7 : "else";
    expect(templateKey({ ...inputs, [name]: changed }), name).not.toBe(key);
  }
});

describe("the store", () => {
  let folder: string;
  let builds: number;
  let events: string[];
  let store: TemplateStore;
  const build = async (directory: string) => {
    builds++;
    await writeFile(join(directory, "memory"), "memory");
    await writeFile(join(directory, "state"), `state ${builds}`);
    await writeFile(join(directory, "upper.qcow2"), "upper");
  };
  const open = (builder = build) =>
    new TemplateStore(folder, builder, {
      built: ({ key }) => events.push(`built ${key.slice(0, 4)}`),
      quarantined: (_, reason) => events.push(`quarantined: ${reason}`),
    });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "msb-template-"));
    builds = 0;
    events = [];
    store = open();
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  test("builds once however many ask, and not again for a later daemon", async () => {
    const templates = await Promise.all(Array.from({ length: 10 }, () => store.ensure(inputs)));
    expect(new Set(templates.map((t) => t.directory)).size).toBe(1);
    await open().ensure(inputs);
    expect(builds).toBe(1);
    expect(events).toHaveLength(1);
  });

  test("leaves files that nobody may write", async () => {
    const { directory } = await store.ensure(inputs);
    for (const name of await readdir(directory)) {
      expect((await stat(join(directory, name))).mode & 0o777, name).toBe(0o444);
    }
  });

  test("tells that it builds, only when it does", async () => {
    let told = 0;
    await store.ensure(inputs, { onBuild: () => told++ });
    await store.ensure(inputs, { onBuild: () => told++ });
    expect(told).toBe(1);
  });

  test.each([
    ["state", (text: string) => `${text}!`, "device state has changed"],
    ["upper.qcow2", (text: string) => `${text}!`, "fresh disk has changed"],
    ["memory", (text: string) => text.slice(1), "memory has 5 bytes"],
    ["manifest.json", () => "{", "manifest cannot be read"],
  ])("a damaged %s is put aside and built again, once, and told", async (name, damage, reason) => {
    const { directory } = await store.ensure(inputs);
    const file = join(directory, name);
    const text = await readFile(file, "utf8");
    await rm(file);
    await writeFile(file, damage(text));
    const again = await open().ensure(inputs);
    expect(builds).toBe(2);
    expect(again.directory).toBe(directory);
    expect(events[1]).toContain(reason);
  });

  test("one that failed to load is built again at the next need", async () => {
    await store.quarantine(await store.ensure(inputs), "it did not load");
    await store.ensure(inputs);
    expect(builds).toBe(2);
    expect(events).toContain("quarantined: it did not load");
  });

  test("a build that fails leaves nothing, and the next one tries again", async () => {
    const failing = open(async (directory) => {
      await writeFile(join(directory, "memory"), "half");
      throw new Error("no");
    });
    await expect(failing.ensure(inputs)).rejects.toThrow("no");
    expect(await readdir(folder)).toEqual([]);
    await store.ensure(inputs);
    expect(builds).toBe(1);
  });

  test("a full disk is resource_exhausted", async () => {
    const full = open(() => Promise.reject(Object.assign(new Error("write"), { code: "ENOSPC" })));
    await expect(full.ensure(inputs)).rejects.toMatchObject({ code: "resource_exhausted" });
  });

  test("whoever waits can leave; the build goes on for the others", async () => {
    let finish = () => {};
    const slow = open(async (directory) => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      await build(directory);
    });
    const controller = new AbortController();
    const leaving = slow.ensure(inputs, { signal: controller.signal });
    const staying = slow.ensure(inputs);
    controller.abort();
    await expect(leaving).rejects.toMatchObject({ code: "cancelled" });
    while (builds === 0) {
      finish();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await staying).key).toBe(templateKey(inputs));
  });

  test("lists the newest first, removes by the beginning of a key, sweeps what is half-made", async () => {
    const { key } = await store.ensure(inputs);
    const other = await store.ensure({ ...inputs, cpus: 2 });
    expect((await store.list()).map((t) => t.key).sort()).toEqual([key, other.key].sort());
    await expect(store.remove("")).rejects.toMatchObject({ code: "not_found" });
    await expect(store.remove("zz")).rejects.toMatchObject({ code: "not_found" });
    await store.remove(key.slice(0, 12));
    expect((await store.list()).map((t) => t.key)).toEqual([other.key]);
    await writeFile(join(folder, `${key}.partial-1`), "");
    await store.sweep();
    expect(await readdir(folder)).toEqual([other.key]);
  });
});
