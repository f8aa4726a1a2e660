import {
  type BuildNetwork,
  type ExitStatus,
  SandboxError,
  type SandboxInfo,
  type SandboxSpec,
  sandboxSpec,
} from "../../contract/index.ts";
import type { OperationContext, Sandboxes } from "../engine.ts";
import type { Digest } from "../image/index.ts";

export interface RunStep {
  /** The image that the step starts from: its environment, user and working directory hold. */
  image: Digest;
  argv: string[];
  /** On top of the image's. */
  env: Record<string, string>;
  memoryMiB: number;
  cpus: number;
  network: BuildNetwork;
  signal?: AbortSignal | undefined;
  onOutput: (text: string) => void;
}

/** A step that has ended, with its sandbox, which goes when it is disposed of. */
export interface EndedStep extends AsyncDisposable {
  exit: ExitStatus;
  /** What it has written, as the tar of a layer. */
  changes(): Promise<AsyncIterable<Uint8Array>>;
}

/** What runs a step. */
export type RunSteps = (step: RunStep) => Promise<EndedStep>;

/** Steps run in sandboxes of their own: whatever a Dockerfile runs, it runs in a VM. */
export function runInSandboxes(
  sandboxes: Pick<Sandboxes, "exec" | "remove"> & {
    create(
      spec: SandboxSpec,
      operation: OperationContext,
      options: { temporary: boolean },
    ): Promise<SandboxInfo>;
    changes(ref: string, options: { signal?: AbortSignal | undefined }): Promise<AsyncIterable<Uint8Array>>;
  },
): RunSteps {
  return async (step) => {
    const { signal } = step;
    const spec = sandboxSpec.parse({
      image: step.image,
      pull: "never",
      memoryMiB: step.memoryMiB,
      cpus: step.cpus,
      network: step.network,
      labels: { "msb.build": "step" },
    });
    const { id } = await sandboxes.create(spec, { signal }, { temporary: true });
    const remove = () => sandboxes.remove(id, { force: true });
    try {
      const exit = await run(sandboxes, id, step);
      return { exit, changes: () => sandboxes.changes(id, { signal }), [Symbol.asyncDispose]: remove };
    } catch (error) {
      await remove().catch(() => {});
      throw error;
    }
  };
}

async function run(sandboxes: Pick<Sandboxes, "exec">, id: string, step: RunStep): Promise<ExitStatus> {
  const { signal } = step;
  const process = await sandboxes.exec(id, { argv: step.argv, env: step.env }, { signal });
  process.endStdin();
  const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
  process.onOutput((stream, chunk) => step.onOutput(decoders[stream].decode(chunk, { stream: true })));
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () =>
    reject(new SandboxError("cancelled", "the build was cancelled", { cause: signal?.reason }));
  aborted.catch(() => {});
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted) onAbort();
  try {
    return await Promise.race([process.exited, aborted]);
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}
