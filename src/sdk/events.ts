import type { Event } from "../contract/index.ts";
import { sharedConnection } from "./connection.ts";
import { type CallOptions, QUICK_MS } from "./options.ts";

export interface EventOptions extends CallOptions {
  /** First the events after this sequence number. Default: only new ones. */
  since?: number | undefined;
}

/**
 * What happens in the daemon, as it happens, until the iteration is left, the signal comes or the daemon goes.
 * The deadline is that of the connection. To go on where you left, pass the last `seq` as `since`.
 */
export async function* events(options: EventOptions = {}): AsyncGenerator<Event> {
  const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS, since } = options;
  const response = await connection.stream({
    method: "GET",
    path: "/v1/events",
    query: { since },
    signal,
    deadlineMs,
    purpose: "hear of events",
  });
  try {
    yield* serverSentEvents<Event>(response);
  } finally {
    response.destroy();
  }
}

/** Reads the `data` of Server-Sent Events (WHATWG HTML, 9.2); comments and the other fields repeat what the data says. */
async function* serverSentEvents<T>(source: AsyncIterable<Uint8Array>): AsyncGenerator<T> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of source) {
    rest += decoder.decode(chunk, { stream: true });
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const block = rest.slice(0, end);
      rest = rest.slice(end + 2);
      const data = block.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length > 0) yield JSON.parse(data.map((line) => line.slice(5)).join("\n")) as T;
    }
  }
}
