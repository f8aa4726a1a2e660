import type { ServerResponse } from "node:http";
import type { Context } from "hono";
import type { ByteStream } from "../engine/index.ts";
import { logIfInternal } from "./status.ts";

export const TAR = "application/x-tar";

/** What a route says of an answer that is a tar. */
export const tarAnswer = (description: string) => ({
  description,
  content: { [TAR]: { schema: { type: "string", format: "binary" } as const } },
});

/**
 * Answers with bytes as they are made. The stream is pulled: a client that does not read holds it back. What fails before the first byte
 * has a status; what fails later breaks the connection, so that nobody takes a half for the whole.
 */
export async function byteResponse(
  c: Context,
  log: (message: string) => void,
  contentType: string,
  open: (signal: AbortSignal) => Promise<ByteStream>,
): Promise<Response> {
  const stop = new AbortController();
  c.req.raw.signal.addEventListener("abort", () => stop.abort(), { once: true });
  const iterator = (await open(stop.signal))[Symbol.asyncIterator]();
  let next: IteratorResult<Uint8Array> | undefined = await iterator.next();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = next ?? (await iterator.next());
        next = undefined;
        if (done === true) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        if (!stop.signal.aborted) {
          logIfInternal(error, `${c.req.method} ${c.req.path}`, log);
          log(`broke off ${c.req.method} ${c.req.path}: ${(error as Error).message}`);
        }
        // Told of an error, the server would write its message and end the answer in an orderly way.
        const { outgoing } = (c.env ?? {}) as { outgoing?: ServerResponse };
        if (outgoing === undefined) controller.error(error);
        else {
          outgoing.destroy();
          controller.close();
        }
      }
    },
    async cancel() {
      stop.abort();
      await iterator.return?.();
    },
  });
  return new Response(body, { headers: { "content-type": contentType } });
}
