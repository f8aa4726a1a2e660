/**
 * Builds an image of a Dockerfile, stage by stage and step by step. What runs, runs in a sandbox of its own; what only copies or
 * says something is done on the host, without one.
 */

import { type BuildRequest, SandboxError } from "../../contract/index.ts";
import type { OperationContext } from "../engine.ts";
import type { EnsureImage } from "../ensure-image.ts";
import { hostPlatform, type ImageStore, type StoredImage, sha256 } from "../image/index.ts";
import type { BuildCache } from "./build-cache.ts";
import { CacheLocks } from "./cache-mounts.ts";
import { BuildContext } from "./context.ts";
import { parseDockerfile } from "./dockerfile/parse.ts";
import { unsupported } from "./dockerfile/position.ts";
import { encodeState, fromImage, type ImageState, scratch } from "./image-state.ts";
import { Resources } from "./resources.ts";
import type { RunSteps } from "./run-step.ts";
import { StageBuild } from "./stage-build.ts";
import { planStages, type Stage, stageOf } from "./stages.ts";
import { StepProgress } from "./step-progress.ts";
import { GlobalVariables } from "./variables.ts";

export interface BuilderOptions {
  store: ImageStore;
  cache: BuildCache;
  runSteps: RunSteps;
  ensureImage: EnsureImage;
}

export class Builder {
  readonly #options: BuilderOptions;
  readonly #locks = new CacheLocks();

  constructor(options: BuilderOptions) {
    this.#options = options;
  }

  /**
   * @param context the tar of the build's context
   * @throws `invalid_argument` and `unsupported` with the Dockerfile's line and column; what a registry, a sandbox or the store says;
   *   `cancelled`. No sandbox and no image is left then; what was built is in the build cache
   */
  async build(
    context: AsyncIterable<Uint8Array>,
    request: BuildRequest,
    operation: OperationContext = {},
  ): Promise<StoredImage> {
    const { store } = this.#options;
    await using resources = new Resources(store);
    operation.onProgress?.({ task: "reading the context" });
    await using files = await BuildContext.take(store, context, request.dockerfile, operation.signal);
    const { instructions, escapeChar } = parseDockerfile(files.dockerfile);
    const plan = planStages(instructions, request.target);
    const platform = request.platform ?? hostPlatform();
    const globals = new GlobalVariables(request, { target: platform, build: hostPlatform() }, escapeChar);
    for (const instruction of plan.globalArgs) globals.declare(instruction);

    const done = new Map<Stage, ImageState>();
    const total = plan.stages.reduce((sum, { steps }) => sum + 1 + steps.length, 0);
    const progress = new StepProgress(operation.onProgress, total);
    const ensure = (name: string) =>
      this.#options.ensureImage(name, { pull: request.pull ? "always" : "missing", platform }, operation);
    for (const stage of plan.stages) {
      const earlier = (name: string) => {
        const found = stageOf(plan.stages, name, stage.index);
        return found === undefined ? undefined : done.get(found);
      };
      progress.stage(plan.stages.length > 1 ? stage.name : "");
      progress.next();
      progress.step(stage.from.source);
      const state = await baseOf(stage, globals, platform, earlier, ensure, resources);
      const build = new StageBuild({
        ...this.#options,
        locks: this.#locks,
        context: files.source,
        request,
        operation,
        globals,
        escapeChar,
        resources,
        earlier,
        ensure,
        state,
        progress,
      });
      done.set(stage, await build.run(stage.steps));
    }
    for (const name of globals.unused)
      progress.output(`warning: no ARG asks for the build argument ${name}\n`);
    return await this.#name(done.get(plan.stages.at(-1)!)!, request, operation);
  }

  async #name(state: ImageState, request: BuildRequest, operation: OperationContext): Promise<StoredImage> {
    const { store } = this.#options;
    if (state.layers.length === 0) {
      throw new SandboxError(
        "invalid_argument",
        "the build has made no file at all: there is nothing to make an image of",
      );
    }
    operation.onProgress?.({ task: "making the image" });
    const config = encodeState(state, request.labels);
    using _hold = store.hold(sha256(config));
    let image = await store.addImage({ config });
    for (const tag of request.tags) image = await store.addImage({ config, name: tag });
    return image;
  }
}

async function baseOf(
  { from }: Stage,
  globals: GlobalVariables,
  platform: string,
  earlier: (name: string) => ImageState | undefined,
  ensure: (name: string) => Promise<StoredImage>,
  resources: Resources,
): Promise<ImageState> {
  const name = globals.expand(from.image);
  if (name === "") throw unsupported(from.image.at, "the image's name is empty: a variable in it is not set");
  if (from.platform !== undefined) {
    const asked = globals.expand(from.platform);
    if (asked.split("/", 2).join("/") !== platform.split("/", 2).join("/")) {
      throw unsupported(from.platform.at, `building for ${asked} beside ${platform} is not supported`);
    }
  }
  if (name === "scratch") return scratch(platform);
  const stage = earlier(name);
  if (stage !== undefined) return stage;
  const image = await ensure(name);
  resources.holdImage(image.digest);
  const triggers = (image.oci.config as { OnBuild?: unknown[] | null } | null | undefined)?.OnBuild;
  if (triggers?.length)
    throw unsupported(from.image.at, `image ${name} has ONBUILD triggers, which are not supported`);
  return fromImage(image);
}
