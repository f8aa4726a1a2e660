/**
 * `msb build`: makes an image of a Dockerfile. It reads the Dockerfile, makes layers of what is copied, runs each RUN step in a sandbox
 * of its own and takes what that has written as a layer. It owns the build cache. It never runs anything of a build on the host, and never
 * unpacks a file of it there.
 */

export { BuildCache } from "./build-cache.ts";
export { Builder, type BuilderOptions } from "./builder.ts";
export { type EndedStep, type RunStep, type RunSteps, runInSandboxes } from "./run-step.ts";
