/** One RUN step: its command in a sandbox that stands on the image so far, and what that has written as a layer. */

import { type BuildNetwork, type BuildRequest, SandboxError } from "../../contract/index.ts";
import type { OperationContext } from "../engine.ts";
import { type HeldLayer, type ImageTree, sha256 } from "../image/index.ts";
import type { BuilderOptions } from "./builder.ts";
import { type CacheLocks, type MountedCache, openCache, placeOf, takeChanges } from "./cache-mounts.ts";
import type { CacheMount, RunInstruction } from "./dockerfile/instruction.ts";
import { wrong } from "./dockerfile/position.ts";
import { type ImageState, withExtraLayers } from "./image-state.ts";

/** A step that fails may have wanted what it was not given. */
const NO_NETWORK = "The step had no network: what it needs must come with the base image or the context.";
const DEFAULT_MEMORY_MIB = 1024;

export interface RunLayerOptions extends BuilderOptions {
  locks: CacheLocks;
  request: BuildRequest;
  operation: OperationContext;
  /** What the step starts from, and its file system. */
  state: ImageState;
  image: ImageTree;
  step: RunInstruction;
  argv: string[];
  env: Record<string, string>;
  /** Absolute target and id of a mount. */
  expandMount(mount: CacheMount): { target: string; id: string | undefined };
  onOutput(text: string): void;
}

/** Errors: `invalid_argument` with the place if the command fails; what the sandbox and the store say. */
export async function runLayer(options: RunLayerOptions): Promise<HeldLayer> {
  const { store, cache, step, image, operation } = options;
  // The outer one of two caches within each other goes first: it hides what is below.
  const places = step.mounts
    .map((mount) => ({ mount, ...placeOf(mount, options.expandMount(mount), image) }))
    .sort((a, b) => a.target.length - b.target.length);
  for (const [i, { mount, target }] of places.entries()) {
    if (places.findIndex((other) => other.target === target) < i)
      throw wrong(mount.at, `two caches cannot be mounted at /${target}`);
  }
  using _locks = await options.locks.acquire(places.map(({ key }) => key));
  const caches: MountedCache[] = [];
  try {
    for (const { mount, key, target } of places)
      caches.push(await openCache(store, cache, mount, { key, target }));
    return await runOn(options, caches, (changes) =>
      takeChanges(store, cache, caches, changes, `the layer of ${step.source}`, operation.signal),
    );
  } finally {
    for (const layer of caches.flatMap(({ layers }) => layers)) layer[Symbol.dispose]();
  }
}

async function runOn(
  options: RunLayerOptions,
  caches: readonly MountedCache[],
  take: (changes: AsyncIterable<Uint8Array>) => Promise<HeldLayer>,
): Promise<HeldLayer> {
  const { store, runSteps, request, operation, step } = options;
  const mounted = caches.flatMap(({ layers }) => layers.map(({ facts }) => facts.digest));
  const config = withExtraLayers(options.state, mounted);
  const image = sha256(config);
  const network: BuildNetwork = step.network === "none" ? { scope: "none", rules: [] } : request.network;
  const hold = store.hold(image);
  try {
    await store.addImage({ config });
    await using ended = await runSteps({
      image,
      argv: options.argv,
      env: options.env,
      memoryMiB: request.memoryMiB ?? DEFAULT_MEMORY_MIB,
      cpus: request.cpus ?? 1,
      network,
      signal: operation.signal,
      onOutput: options.onOutput,
    }).catch((error) => {
      throw missingCommand(error, options);
    });
    const { exitCode } = ended.exit;
    const hint = network.scope === "none" ? NO_NETWORK : undefined;
    if (exitCode !== 0) throw wrong(step.at, `the command ended with exit code ${exitCode}`, hint);
    return await take(await ended.changes());
  } finally {
    hold[Symbol.dispose]();
    await store.drop(image);
  }
}

/** A command that is not there is the Dockerfile's fault, and is said with its place. */
function missingCommand(error: unknown, { step }: RunLayerOptions): unknown {
  if (!(error instanceof SandboxError) || error.details?.exitCode === undefined) return error;
  return wrong(step.at, error.message, error.hint);
}
