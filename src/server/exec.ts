import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import {
  type ExecResultBody,
  type ExecSpec,
  execRequest,
  execResult,
  MAX_COLLECTED_BYTES,
  SandboxError,
  streamClientMessage,
  streamServerMessage,
} from "../contract/index.ts";
import type { Engine } from "../engine/index.ts";
import type { ApiContext } from "./context.ts";
import { failure, json, refParam } from "./schemas.ts";

/** Processes whose output is collected. Those whose output streams are in `exec-socket.ts` and `run-socket.ts`. */

const tags = ["exec"];

const exec = createRoute({
  method: "post",
  path: "/v1/sandboxes/{ref}/exec",
  operationId: "exec",
  summary: "Run a command and collect its output",
  description:
    "At most 16 MiB of each stream are returned. The process is killed when the client closes the connection before the answer.",
  tags,
  request: {
    params: refParam,
    body: { required: true, content: { "application/json": { schema: execRequest } } },
  },
  responses: { 200: json(execResult, "How it ended and what it wrote."), ...failure },
});

export const socketAnswer = {
  101: {
    description: "A WebSocket. Text frames are JSON, binary frames bytes behind the number of their stream.",
    content: {
      "application/json": {
        schema: z
          .object({ client: streamClientMessage, server: streamServerMessage })
          .meta({ id: "StreamMessages", description: "Messages of the two directions." }),
      },
    },
  },
  ...failure,
};

/** Upgrades never reach the routes; these describe them in the document. */
const sockets = [
  createRoute({
    method: "get",
    path: "/v1/sandboxes/{ref}/exec",
    operationId: "execStream",
    summary: "Run a command with its streams over a WebSocket",
    description: "The first message is `exec`. The process is ended when the client goes.",
    tags,
    request: { params: refParam },
    responses: socketAnswer,
  }),
  createRoute({
    method: "get",
    path: "/v1/run",
    operationId: "run",
    summary: "Create a sandbox for one command, over a WebSocket",
    description:
      "The first message is `run`. The sandbox is removed when the command ends or the client goes, unless `keep` is set.",
    tags,
    responses: socketAnswer,
  }),
];

export function addExecRoutes(api: OpenAPIHono, { engine }: ApiContext): void {
  api.openapi(exec, async (c) => {
    const { stdin, stdinBase64, ...spec } = c.req.valid("json");
    if (stdin !== undefined && stdinBase64 !== undefined) {
      throw new SandboxError("invalid_argument", "exec: give `stdin` or `stdinBase64`, not both");
    }
    const input = stdinBase64 === undefined ? Buffer.from(stdin ?? "") : Buffer.from(stdinBase64, "base64");
    return c.json(
      await collect(engine, c.req.valid("param").ref, spec as ExecSpec, input, c.req.raw.signal),
      200,
    );
  });
  for (const route of sockets) api.openAPIRegistry.registerPath(route);
}

async function collect(
  engine: Engine,
  ref: string,
  spec: ExecSpec,
  input: Buffer,
  signal: AbortSignal,
): Promise<ExecResultBody> {
  const began = performance.now();
  const process = await engine.sandboxes.exec(ref, spec, { signal });
  const streams = { stdout: new BoundedOutput(), stderr: new BoundedOutput() };
  process.onOutput((stream, chunk) => streams[stream].add(chunk));
  const kill = () => process.signal("SIGKILL");
  if (signal.aborted) kill();
  else signal.addEventListener("abort", kill, { once: true });
  // A process may end, or close its stdin, without having read it all: that is no failure of the exec.
  feed(process, input).catch(() => {});
  const status = await process.exited;
  signal.removeEventListener("abort", kill);
  return {
    ...status,
    stdoutBase64: streams.stdout.toBase64(),
    stderrBase64: streams.stderr.toBase64(),
    stdoutDropped: streams.stdout.dropped,
    stderrDropped: streams.stderr.dropped,
    durationMs: Math.round((performance.now() - began) * 1000) / 1000,
  };
}

async function feed(
  process: { write(chunk: Buffer): Promise<void>; endStdin(): void },
  input: Buffer,
): Promise<void> {
  const step = 64 * 1024;
  for (let at = 0; at < input.length; at += step) await process.write(input.subarray(at, at + step));
  process.endStdin();
}

/** Keeps the first 16 MiB and counts the rest. */
class BoundedOutput {
  #chunks: Buffer[] = [];
  #kept = 0;
  dropped = 0;

  add(chunk: Buffer): void {
    const room = MAX_COLLECTED_BYTES - this.#kept;
    const take = chunk.length <= room ? chunk : chunk.subarray(0, room);
    if (take.length > 0) this.#chunks.push(take);
    this.#kept += take.length;
    this.dropped += chunk.length - take.length;
  }

  toBase64(): string {
    return Buffer.concat(this.#chunks).toString("base64");
  }
}
