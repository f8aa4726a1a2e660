import { type IgnoreRules, parseIgnoreFile } from "../../contract/dockerignore.ts";
import { SandboxError } from "../../contract/index.ts";
import { fromBytes } from "../../tar/index.ts";
import { type HeldLayer, type ImageStore, type ImageTree, isDirectory } from "../image/index.ts";
import type { SourceTree } from "./copy/copy-sources.ts";

const MAX_DOCKERFILE_BYTES = 1024 * 1024;

/** A build's context: taken in as a layer, never unpacked, and read where a step needs it. */
export class BuildContext implements AsyncDisposable {
  readonly dockerfile: string;
  readonly source: SourceTree;
  readonly #store: ImageStore;
  readonly #layer: HeldLayer;
  readonly #tree: ImageTree;

  private constructor(
    store: ImageStore,
    layer: HeldLayer,
    tree: ImageTree,
    dockerfile: string,
    rules: IgnoreRules,
  ) {
    this.#store = store;
    this.#layer = layer;
    this.#tree = tree;
    this.dockerfile = dockerfile;
    this.source = {
      tree,
      what: "the context",
      ignores: (path) => rules.ignores(path),
      mayContainException: (path) => rules.mayContainException(path),
    };
  }

  /** @throws `invalid_argument` for an archive that is none; `not_found` if there is no such Dockerfile in it */
  static async take(
    store: ImageStore,
    tar: AsyncIterable<Uint8Array>,
    dockerfile: string,
    signal: AbortSignal | undefined,
  ): Promise<BuildContext> {
    const layer = await store.ingestLayer({ source: tar, what: "the build's context", signal });
    try {
      const tree = await store.openLayers([layer.facts.digest]);
      try {
        const text = await readText(tree, dockerfile);
        if (text === undefined) {
          throw new SandboxError("not_found", `the context has no ${dockerfile}`, {
            hint: "Name another one: msb build -f FILE",
          });
        }
        const own = `${dockerfile}.dockerignore`;
        const rules = [own, ".dockerignore"].map(async (name) => [name, await readText(tree, name)] as const);
        const [name, ignored] = (await Promise.all(rules)).find(([, found]) => found !== undefined) ?? [];
        return new BuildContext(store, layer, tree, text, parseIgnoreFile(ignored ?? "", name));
      } catch (error) {
        await tree[Symbol.asyncDispose]();
        throw error;
      }
    } catch (error) {
      layer[Symbol.dispose]();
      await store.dropLayer(layer.facts.digest);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tree[Symbol.asyncDispose]();
    this.#layer[Symbol.dispose]();
    await this.#store.dropLayer(this.#layer.facts.digest);
  }
}

async function readText(tree: ImageTree, path: string): Promise<string | undefined> {
  const found = tree.lookup(fromBytes(Buffer.from(path)))?.inode;
  if (found === undefined || isDirectory(found) || found.type !== "file") return undefined;
  return (await tree.readSmall(found, MAX_DOCKERFILE_BYTES)).toString("utf8");
}
