import { execFileSync } from "node:child_process";
import type { Readable } from "node:stream";
import { type BuildRequest, type ImageDetail, type ImageInfo, SandboxError } from "../../contract/index.ts";
import type { ByteStream, Images, OperationContext } from "../../engine/index.ts";
import { type LocalContent, LocalRegistry, manifestDigest, sha256 } from "./local-registry.ts";

/**
 * Images of the engine without VMs: a name has a tar and a configuration, kept as they came. An archive is JSON; a built image is its
 * context, so that tests see what was sent.
 */
export class LocalImages implements Images {
  readonly #images = new Map<string, LocalContent & { createdAt: string }>();
  readonly #registry = new LocalRegistry();
  readonly #usersOf: (name: string) => string[];

  /** @param usersOf names of the sandboxes that stand on an image */
  constructor(usersOf: (name: string) => string[]) {
    this.#usersOf = usersOf;
    for (const name of ["msb/base", "test/slow", "test/nothing"]) {
      this.#add(name, { tar: Buffer.alloc(4096), platform: "linux/amd64" });
    }
  }

  async ensure(name: string, pull: "missing" | "always" | "never", context: OperationContext): Promise<void> {
    const remote = withTag(name);
    if (this.#images.has(name) && pull !== "always") return;
    if (pull !== "never" && this.#registry.has(remote)) await this.pull({ reference: name }, context);
    else if (!this.#images.has(name)) this.#find(name);
  }

  async list(): Promise<ImageInfo[]> {
    return [...this.#images.keys()].map((name) => this.#info(name));
  }

  async inspect(name: string): Promise<ImageDetail> {
    const found = this.#find(name);
    const { config = {} } = (found.config ?? {}) as { config?: { Env?: string[]; User?: string } };
    const [os = "", architecture = ""] = found.platform.split("/");
    return {
      digest: sha256(found.tar),
      names: [name],
      manifestDigests: [],
      platform: { os, architecture },
      config: {
        ...{
          entrypoint: [],
          cmd: [],
          workdir: "",
          exposedPorts: [],
          stopSignal: "",
          volumes: [],
          labels: {},
        },
        env: config.Env ?? [],
        user: config.User ?? "",
        shell: ["/bin/sh", "-c"],
      },
      layers: [
        { digest: sha256(found.tar), tarBytes: found.tar.length, sizeBytes: found.tar.length, entries: 1 },
      ],
      history: [
        { created: found.createdAt, createdBy: "RUN true\t\u001b[31m", sizeBytes: 0 },
        { createdBy: "COPY . .", layer: sha256(found.tar), sizeBytes: found.tar.length },
      ],
      sizeBytes: found.tar.length,
      sandboxes: this.#usersOf(name),
    };
  }

  async pull(
    request: { reference: string; platform?: string | undefined; digest?: string | undefined },
    context: OperationContext = {},
  ): Promise<ImageInfo> {
    const { reference, platform = "linux/amd64", digest } = request;
    const content = await this.#registry.pull(withTag(reference), platform, context);
    if (digest !== undefined && digest !== manifestDigest(content)) {
      throw new SandboxError("invalid_argument", `${reference} is not ${digest}`);
    }
    return this.#add(reference, content);
  }

  async push(request: { name: string; reference?: string | undefined }, context: OperationContext = {}) {
    const reference = withTag(request.reference ?? request.name);
    return { reference, digest: await this.#registry.push(reference, this.#find(request.name), context) };
  }

  async tag(source: string, target: string): Promise<ImageInfo> {
    return this.#add(target, this.#find(source));
  }

  async import(
    name: string,
    tar: Readable,
    { config }: OperationContext & { config?: unknown } = {},
  ): Promise<ImageInfo> {
    const content = { tar: await bytesOf(tar), platform: "linux/amd64" };
    return this.#add(name, config === undefined ? content : { ...content, config });
  }

  async load(archive: Readable): Promise<ImageInfo[]> {
    const text = (await bytesOf(archive)).toString();
    try {
      const { images } = JSON.parse(text) as { images: { name: string; tar: string }[] };
      return images.map(({ name, tar }) =>
        this.#add(name, { tar: Buffer.from(tar, "base64"), platform: "linux/amd64" }),
      );
    } catch (cause) {
      throw new SandboxError("invalid_argument", "the archive is no archive of images", { cause });
    }
  }

  async save(names: string[], { format = "oci" }: { format?: string } = {}): Promise<ByteStream> {
    const images = names.map((name) => ({ name, tar: this.#find(name).tar.toString("base64") }));
    if (names.includes("test/slow")) return brokenOff();
    return chunksOf(Buffer.from(JSON.stringify({ format, images })));
  }

  async export(name: string): Promise<ByteStream> {
    return chunksOf(this.#find(name).tar);
  }

  async build(
    context: Readable,
    request: BuildRequest,
    { onProgress, signal }: OperationContext = {},
  ): Promise<ImageInfo> {
    const tar = await bytesOf(context);
    const path = `./${request.dockerfile}`;
    const steps = execFileSync("tar", ["-xOf", "-", path], { input: tar, encoding: "utf8" })
      .split("\n")
      .filter((line) => line !== "");
    for (const [index, step] of steps.entries()) {
      signal?.throwIfAborted();
      const task = `[${index + 1}/${steps.length}] ${step}`;
      onProgress?.({ task });
      if (step.startsWith("RUN ")) onProgress?.({ task, output: `output of ${step.slice(4)}\n` });
      if (step === "RUN false") {
        throw new SandboxError("invalid_argument", `Dockerfile line ${index + 1}: RUN false ended with 1`);
      }
    }
    const content = { tar, config: request, platform: request.platform ?? "linux/amd64" };
    const infos = (request.tags.length > 0 ? request.tags : [""]).map((name) => this.#add(name, content));
    return infos[0]!;
  }

  async remove(name: string): Promise<void> {
    this.#find(name);
    const users = this.#usersOf(name);
    if (users.length > 0) {
      throw new SandboxError("invalid_state", `image '${name}' is in use by ${users.join(", ")}`, {
        hint: "Remove these sandboxes first.",
        details: { sandboxes: users },
      });
    }
    this.#images.delete(name);
  }

  async prune({ all = false, buildCache = false }: { all?: boolean; buildCache?: boolean } = {}) {
    const untagged = [...this.#images.keys()].filter(
      (name) => all && name.startsWith("prune/") && this.#usersOf(name).length === 0,
    );
    for (const name of untagged) this.#images.delete(name);
    const cacheEntries = buildCache ? 2 : 0;
    return { images: untagged.length, layers: 1, cacheEntries, freedBytes: 1024 * 1024, untagged };
  }

  async usage() {
    const bytes = [...this.#images.values()].reduce((sum, { tar }) => sum + tar.length, 0);
    return {
      images: { count: this.#images.size, bytes, reclaimableBytes: 0 },
      layers: { count: this.#images.size, bytes },
      buildCache: { count: 2, bytes: 2048, reclaimableBytes: 2048 },
      totalBytes: bytes,
      quotaBytes: 1024 ** 3,
    };
  }

  async login(request: Parameters<Images["login"]>[0]): Promise<void> {
    this.#registry.login(request);
  }

  async logout(registry: string): Promise<void> {
    this.#registry.logout(registry);
  }

  #find(name: string): LocalContent & { createdAt: string } {
    const byDigest = () => [...this.#images.values()].find(({ tar }) => sha256(tar) === name);
    const found = this.#images.get(name) ?? byDigest();
    if (found) return found;
    throw new SandboxError("not_found", `there is no image ${name}`, { hint: "msb images" });
  }

  #add(name: string, content: LocalContent): ImageInfo {
    this.#images.set(name, { ...content, createdAt: new Date().toISOString() });
    return this.#info(name);
  }

  #info(name: string): ImageInfo {
    const { createdAt, ...content } = this.#images.get(name)!;
    return {
      name,
      digest: sha256(content.tar),
      ...(this.#registry.has(withTag(name)) ? { manifestDigest: manifestDigest(content) } : {}),
      sizeBytes: content.tar.length,
      createdAt,
    };
  }
}

const withTag = (name: string) => (/:[^/]+$/.test(name) ? name : `${name}:latest`);

async function bytesOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function* chunksOf(bytes: Buffer): ByteStream {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

/** An archive whose making fails half-way. */
async function* brokenOff(): ByteStream {
  yield Buffer.alloc(100_000);
  throw new SandboxError("internal", "the blob of a layer is gone");
}
