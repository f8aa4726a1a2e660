import type { ByteStream } from "../engine.ts";
import { type ImageStore, treeTar } from "../image/index.ts";
import type { Sandbox } from "./sandbox.ts";

/**
 * The file system of a running sandbox as one tar: what it has written is read back as a layer, which goes on top of its image's.
 * @throws before the first byte: `invalid_state` if it does not run, and what the guest could not do
 */
export async function exportSandbox(
  images: ImageStore,
  sandbox: Pick<Sandbox, "name" | "imageDigest" | "changes">,
  signal: AbortSignal | undefined,
): Promise<ByteStream> {
  const source = await sandbox.changes(signal);
  const what = `what sandbox '${sandbox.name}' has written`;
  using written = await images.ingestLayer({ source, what, signal });
  const layers = (await images.get(sandbox.imageDigest)).layers.map(({ digest }) => digest);
  // The tree holds its layers itself.
  const tree = await images.openLayers([...layers, written.facts.digest]);
  return (async function* () {
    await using _tree = tree;
    yield* treeTar(tree);
  })();
}
