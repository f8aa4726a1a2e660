import { chmod, chown, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SandboxError } from "../../contract/index.ts";
import { type TemplateInputs, templateKey } from "./key.ts";
import {
  MANIFEST_FILE,
  type Manifest,
  MEMORY_FILE,
  readManifest,
  STATE_FILE,
  sha256,
  UPPER_FILE,
  verifyFiles,
} from "./manifest.ts";

/** A template that is there and whole. */
export interface Template {
  key: string;
  directory: string;
  manifest: Manifest;
}

/**
 * Boots a machine of the shape and leaves `memory`, `state` and `upper.qcow2` in `directory`. Handed in: this room knows no machines.
 */
export type TemplateBuilder = (
  directory: string,
  inputs: TemplateInputs,
  signal?: AbortSignal,
) => Promise<void>;

/** What happens to templates that somebody may want to know. */
export interface TemplateListener {
  built?(template: Template): void;
  quarantined?(key: string, reason: string): void;
}

export interface EnsureOptions {
  signal?: AbortSignal | undefined;
  /** Called if the template has to be built, before that begins. */
  onBuild?: (() => void) | undefined;
}

/**
 * The stored states under one folder. A template is written beside and renamed into place; a folder without a whole
 * manifest does not exist for anybody. Built once however many ask at the same moment.
 */
export class TemplateStore {
  private readonly directory: string;
  private readonly build: TemplateBuilder;
  private readonly listener: TemplateListener;
  private readonly building = new Map<string, Promise<Template>>();
  /** Templates that are just being put aside: until then their folder looks as good as it did before. */
  private readonly leaving = new Map<string, Promise<void>>();
  /** Templates verified by this process: their files are read-only for everybody else. */
  private readonly verified = new Map<string, Template>();

  constructor(directory: string, build: TemplateBuilder, listener: TemplateListener = {}) {
    this.directory = directory;
    this.build = build;
    this.listener = listener;
  }

  /**
   * The template for these inputs, built if need be. A damaged one is quarantined and built again.
   * @throws what the builder throws; `cancelled` by the signal (the build goes on for others who wait for it)
   */
  async ensure(inputs: TemplateInputs, options: EnsureOptions = {}): Promise<Template> {
    const key = templateKey(inputs);
    const known = this.verified.get(key);
    if (known !== undefined) return known;
    let running = this.building.get(key);
    if (running === undefined) {
      running = this.findOrBuild(key, inputs, options).finally(() => this.building.delete(key));
      this.building.set(key, running);
      // Whoever asked may have gone; the build's end is then nobody's error.
      running.catch(() => {});
    }
    return withSignal(running, options.signal);
  }

  /**
   * Puts a template that failed to load aside, so that the next `ensure` builds it again. Several may have failed to load it:
   * the first puts it aside, and the others find it gone or, under its key, the new one, which is not at fault.
   */
  async quarantine(template: Template, reason: string): Promise<void> {
    const { key } = template;
    if (this.verified.get(key) !== template) return;
    const leaving = this.putAside(key, reason).finally(() => this.leaving.delete(key));
    this.leaving.set(key, leaving);
    await leaving;
  }

  private async putAside(key: string, reason: string): Promise<void> {
    this.verified.delete(key);
    await rm(this.path(`${key}.bad`), { recursive: true, force: true });
    await rename(this.path(key), this.path(`${key}.bad`)).catch(() => {});
    this.listener.quarantined?.(key, reason);
  }

  /** All whole templates, newest first. */
  async list(): Promise<Template[]> {
    const names = await readdir(this.directory).catch(() => []);
    const found: Template[] = [];
    for (const name of names.filter((n) => /^[0-9a-f]{32}$/.test(n))) {
      const manifest = await readManifest(this.path(name)).catch(() => undefined);
      if (manifest !== undefined) found.push({ key: name, directory: this.path(name), manifest });
    }
    return found.sort((a, b) => b.manifest.createdAt.localeCompare(a.manifest.createdAt));
  }

  /** @throws `not_found` if no key starts with `prefix`, `invalid_argument` if several do */
  async remove(prefix: string): Promise<void> {
    const keys = (await readdir(this.directory).catch(() => [])).filter((n) => /^[0-9a-f]{32}$/.test(n));
    const matching = prefix === "" ? [] : keys.filter((key) => key.startsWith(prefix));
    if (matching.length === 0) {
      throw new SandboxError("not_found", `there is no template '${prefix}'`, {
        hint: "'msb template ls' lists them.",
      });
    }
    if (matching.length > 1) {
      throw new SandboxError(
        "invalid_argument",
        `'${prefix}' begins the keys of ${matching.length} templates`,
        {
          hint: "Give more of the key.",
        },
      );
    }
    this.verified.delete(matching[0]!);
    // Sandboxes that were loaded from it keep the memory file open; it goes with the last of them.
    await rm(this.path(matching[0]!), { recursive: true, force: true });
  }

  /** Removes what earlier, interrupted builds left. To be called when nobody else builds. */
  async sweep(): Promise<void> {
    for (const name of await readdir(this.directory).catch(() => [])) {
      if (!/^[0-9a-f]{32}$/.test(name)) await rm(this.path(name), { recursive: true, force: true });
    }
  }

  private async findOrBuild(key: string, inputs: TemplateInputs, options: EnsureOptions): Promise<Template> {
    await this.leaving.get(key);
    const found = await this.find(key);
    if (found !== undefined) return found;
    options.onBuild?.();
    const partial = this.path(`${key}.partial-${process.pid}`);
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true, mode: 0o755 });
    const started = performance.now();
    try {
      await this.build(partial, inputs);
      await chown(partial, process.getuid?.() ?? -1, process.getgid?.() ?? -1);
      const manifest = await this.seal(partial, key, inputs, performance.now() - started);
      await rename(partial, this.path(key));
      const template = { key, directory: this.path(key), manifest };
      this.verified.set(key, template);
      this.listener.built?.(template);
      return template;
    } catch (error) {
      await rm(partial, { recursive: true, force: true });
      throw outOfSpace(error);
    }
  }

  private async find(key: string): Promise<Template | undefined> {
    const directory = this.path(key);
    try {
      const manifest = await readManifest(directory);
      if (manifest === undefined) return undefined;
      await verifyFiles(directory, manifest);
      const template = { key, directory, manifest };
      this.verified.set(key, template);
      return template;
    } catch (error) {
      if (!(error instanceof SandboxError)) throw error;
      await this.putAside(key, error.message);
      return undefined;
    }
  }

  /** From here on nobody writes these files, and a VMM of any uid may read them through its read-only mount. */
  private async seal(
    directory: string,
    key: string,
    inputs: TemplateInputs,
    buildMs: number,
  ): Promise<Manifest> {
    const [state, upper, memory] = await Promise.all([
      readFile(join(directory, STATE_FILE)),
      readFile(join(directory, UPPER_FILE)),
      stat(join(directory, MEMORY_FILE)),
    ]);
    const manifest: Manifest = {
      version: 1,
      key,
      inputs,
      createdAt: new Date().toISOString(),
      buildMs: Math.round(buildMs),
      state: { bytes: state.length, sha256: sha256(state) },
      memory: { bytes: memory.size },
      upper: { bytes: upper.length, sha256: sha256(upper) },
    };
    await writeFile(join(directory, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`);
    await Promise.all(
      [MEMORY_FILE, STATE_FILE, UPPER_FILE, MANIFEST_FILE].map((name) => seal(join(directory, name))),
    );
    return manifest;
  }

  private path(name: string): string {
    return join(this.directory, name);
  }
}

/** The builder's VMM wrote it under its own uid, which another machine may get later. */
async function seal(path: string): Promise<void> {
  await chmod(path, 0o444);
  if (process.getuid?.() === 0) await chown(path, 0, 0);
}

function outOfSpace(error: unknown): unknown {
  const text = error instanceof Error ? `${(error as NodeJS.ErrnoException).code} ${error.message}` : "";
  if (!/ENOSPC|EDQUOT|No space left|quota exceeded/i.test(text)) return error;
  return new SandboxError("resource_exhausted", "the disk is full: a template could not be stored", {
    hint: "Free some space (a template takes up to the sandbox's memory), or set MSB_HOME to another disk.",
    cause: error,
  });
}

function withSignal<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(new SandboxError("cancelled", "cancelled while waiting for a template"));
    if (signal.aborted) return onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
