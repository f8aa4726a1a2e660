import type { LogRecord } from "../contract/index.ts";
import type { Connection } from "./connection.ts";
import { jsonLines } from "./json-lines.ts";
import { QUICK_MS } from "./options.ts";
import type { LogsOptions } from "./sandbox-options.ts";

/** What a sandbox's processes wrote, oldest first. @internal */
export async function* readLogs(
  connection: Connection,
  path: string,
  name: string,
  options: LogsOptions,
): AsyncGenerator<LogRecord> {
  const { signal, deadlineMs = QUICK_MS, follow, tail, since, until, processes, streams, grep } = options;
  const response = await connection.stream({
    method: "GET",
    path,
    query: {
      follow,
      tail,
      since: moment(since),
      until: moment(until),
      process: processes?.map(String),
      stream: streams,
      grep,
    },
    signal,
    deadlineMs,
    purpose: `read the logs of sandbox ${name}`,
  });
  try {
    yield* jsonLines<LogRecord>(response);
  } finally {
    response.destroy();
  }
}

function moment(when: Date | string | undefined): string | undefined {
  return when instanceof Date ? when.toISOString() : when;
}
