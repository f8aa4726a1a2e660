import { type PullBench, pullBench } from "./bench.ts";
import { type Handler, ScriptedRegistry, testImage } from "./scripted-registry.ts";

/** A registry that does as `handler` says, and a store to pull into. */
export async function withRegistry(
  handler: Handler | undefined,
  work: (registry: ScriptedRegistry, bench: PullBench) => Promise<void>,
  image = testImage(),
) {
  await using registry = await ScriptedRegistry.start(image, handler);
  await using bench = await pullBench();
  await work(registry, bench);
}
