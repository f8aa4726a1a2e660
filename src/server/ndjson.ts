import { SandboxError } from "../contract/index.ts";

/**
 * A response that writes one JSON value per line as the source yields them. The stream is pulled: a client that does not read holds
 * the source back. An error after the first byte can no longer be a status; it is the last line.
 */
export function ndjsonResponse(source: AsyncIterable<unknown>, stop: AbortController): Response {
  const encoder = new TextEncoder();
  const iterator = source[Symbol.asyncIterator]();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const next = await iterator.next();
        if (next.done === true) controller.close();
        else controller.enqueue(encoder.encode(`${JSON.stringify(next.value)}\n`));
      } catch (error) {
        if (stop.signal.aborted) {
          controller.close();
          return;
        }
        const line = { error: SandboxError.from(error).toBody() };
        controller.enqueue(encoder.encode(`${JSON.stringify(line)}\n`));
        controller.close();
      }
    },
    async cancel() {
      stop.abort();
      await iterator.return?.();
    },
  });
  return new Response(body, { headers: { "content-type": "application/x-ndjson" } });
}
