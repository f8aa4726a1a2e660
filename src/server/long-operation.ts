import type { Context } from "hono";
import { type OperationMessage, type Progress, SandboxError } from "../contract/index.ts";
import type { OperationContext } from "../engine/index.ts";
import { ndjsonResponse } from "./ndjson.ts";
import { ProgressQueue } from "./progress-queue.ts";

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

  const queue = new ProgressQueue();
  let wake = () => {};
  const firstProgress = Promise.withResolvers<"progress">();
  const onProgress = (progress: Progress) => {
    queue.push(progress);
    firstProgress.resolve("progress");
    wake();
  };
  const working = work({ signal: stop.signal, onProgress });
  let end: OperationMessage | undefined;
  const finished = working.then(
    (result) => {
      end = { type: "result", result };
    },
    (error) => {
      end = { type: "error", error: SandboxError.from(error).toBody() };
    },
  );
  const first = await Promise.race([finished, firstProgress.promise]);
  if (first !== "progress") return Response.json(await working, { status });

  finished.then(() => wake());
  async function* lines(): AsyncGenerator<OperationMessage> {
    for (;;) {
      const progress = queue.shift();
      if (progress !== undefined) {
        yield { type: "progress", progress };
      } else if (end !== undefined) {
        yield end;
        return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  }
  return ndjsonResponse(lines(), stop);
}
