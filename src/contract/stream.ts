import { z } from "zod";
import { execSpec, exitStatus, terminalCols, terminalRows } from "./exec.ts";
import { layerProgress } from "./images.ts";
import { outputFrom, processInfo } from "./processes.ts";
import { sandboxInfo, sandboxSpec } from "./sandbox.ts";

/**
 * Messages of the WebSockets that carry a process: `/v1/sandboxes/{ref}/exec` (a process in a running sandbox)
 * and `/v1/run` (a sandbox and its one command, both gone when the connection is), and
 * `/v1/sandboxes/{ref}/processes/{process}/attach` (a process that runs, or ran, without its client).
 *
 * Text frames are JSON, as below. Binary frames are a stream's bytes behind one byte that names it.
 */
export { MAX_STREAM_FRAME, STDIN_WINDOW, STREAM_STDERR, STREAM_STDIN, STREAM_STDOUT } from "./frames.ts";

export const streamClientMessage = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("exec"), exec: execSpec }),
  z.strictObject({
    type: z.literal("run"),
    sandbox: sandboxSpec,
    exec: execSpec.omit({ argv: true }).extend({ argv: z.array(z.string()).optional() }),
    /** Keep the sandbox, running, when its command has ended or the client has gone. */
    keep: z.boolean().default(false),
    /** The command waits for `begin`: the client puts in place first what it needs. */
    held: z.boolean().default(false),
  }),
  z.strictObject({ type: z.literal("begin") }),
  z.strictObject({
    type: z.literal("attach"),
    from: outputFrom.default({ stdout: 0, stderr: 0 }),
  }),
  z.strictObject({ type: z.literal("stdin_end") }),
  z.strictObject({ type: z.literal("signal"), signal: z.string().max(16) }),
  z.strictObject({
    type: z.literal("resize"),
    rows: terminalRows,
    cols: terminalCols,
  }),
  /** Go away without ending the process. Answered with `detached`. */
  z.strictObject({ type: z.literal("detach") }),
]);
export type StreamClientMessage = z.input<typeof streamClientMessage>;

export const errorBody = z
  .object({
    code: z.string(),
    message: z.string(),
    hint: z.string().optional(),
    details: z.record(z.string(), z.unknown()).optional(),
  })
  .meta({ id: "Error" });

/** Tells of work that takes long enough to be worth a line: a template built, an image read. */
export const progress = z
  .object({
    task: z
      .string()
      .meta({ description: "What is being done, e.g. `building the template for 1 CPU, 256 MiB`." }),
    fraction: z.number().min(0).max(1).optional(),
    layer: layerProgress.optional().meta({ description: "The layer that it is about, in a pull or a push." }),
    output: z.string().optional().meta({ description: "What a build step has just written." }),
  })
  .meta({ id: "Progress" });
export type Progress = z.output<typeof progress>;

export const streamServerMessage = z.discriminatedUnion("type", [
  z.object({ type: z.literal("progress"), progress }),
  z.object({ type: z.literal("sandbox"), sandbox: sandboxInfo }),
  z.object({ type: z.literal("started"), process: z.int(), pid: z.int() }),
  z.object({
    type: z.literal("stdin_window"),
    /** So many more bytes of stdin may be sent; see `STDIN_WINDOW`. */
    bytes: z.int().min(1),
  }),
  z.object({ type: z.literal("exit"), status: exitStatus }),
  z.object({ type: z.literal("detached") }),
  z.object({
    type: z.literal("attached"),
    process: processInfo,
    /** Offsets of the first bytes that follow; what of them is not kept any more comes as `lost`. */
    from: z.object({ stdout: z.int(), stderr: z.int() }),
  }),
  /** So many bytes of a stream, at this point of it, are in the log no more. */
  z.object({ type: z.literal("lost"), stream: z.enum(["stdout", "stderr"]), bytes: z.int() }),
  z.object({ type: z.literal("error"), error: errorBody }),
]);
export type StreamServerMessage = z.output<typeof streamServerMessage>;

/**
 * Lines of an answer to a long operation, for a client that accepts `application/x-ndjson`: progress, then the end.
 * The answer is plain JSON if it was ready before there was any progress to tell of.
 */
export const operationMessage = z
  .discriminatedUnion("type", [
    z.object({ type: z.literal("progress"), progress }),
    z.object({ type: z.literal("result"), result: z.unknown() }),
    z.object({ type: z.literal("error"), error: errorBody }),
  ])
  .meta({ id: "OperationMessage" });
export type OperationMessage = z.output<typeof operationMessage>;
