import type { Context } from "hono";
import { type OperationMessage, type Progress, SandboxError } from "../contract/index.ts";
import type { OperationContext } from "../engine/index.ts";
import { ndjsonResponse } from "./ndjson.ts";

/**
 * Answers with the result of something that may take long. A client that accepts NDJSON hears of progress on the way; if the result
 * comes before any progress it is plain JSON with a proper status, so the fast path costs nothing.
 */
export async function longOperation<T>(
  c: Context,
  status: 200 | 201,
  work: (context: OperationContext) => Promise<T>,
): Promise<Response> {
  const stop = new AbortController();
  const clientGone = c.req.raw.signal;
  clientGone.addEventListener("abort", () => stop.abort(), { once: true });
  if (!(c.req.header("accept") ?? "").includes("application/x-ndjson")) {
    return Response.json(await work({ signal: stop.signal }), { status });
  }

  const messages: OperationMessage[] = [];
  let wake = () => {};
  const firstProgress = Promise.withResolvers<"progress">();
  const onProgress = (progress: Progress) => {
    // Only the newest progress matters to somebody who reads slowly.
    if (messages.at(-1)?.type === "progress") messages.pop();
    messages.push({ type: "progress", progress });
    firstProgress.resolve("progress");
    wake();
  };
  const working = work({ signal: stop.signal, onProgress });
  const finished = working.then(
    (result) => ({ type: "result", result }) as const,
    (error) => ({ type: "error", error: SandboxError.from(error).toBody() }) as const,
  );
  const first = await Promise.race([finished, firstProgress.promise]);
  if (first !== "progress") return Response.json(await working, { status });

  finished.then((end) => {
    messages.push(end);
    wake();
  });
  async function* lines(): AsyncGenerator<OperationMessage> {
    for (;;) {
      const message = messages.shift();
      if (message === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (messages.length > 0) resolve();
        });
        continue;
      }
      yield message;
      if (message.type !== "progress") return;
    }
  }
  return ndjsonResponse(lines(), stop);
}
