import type { SandboxMetrics } from "../contract/index.ts";
import { type Connection, sharedConnection } from "./connection.ts";
import { jsonLines } from "./json-lines.ts";
import { type CallOptions, QUICK_MS } from "./options.ts";

export interface WatchMetricsOptions extends CallOptions {
  /** Between two looks, at least 100. Default: 1,000. */
  intervalMs?: number | undefined;
}

/** What all running sandboxes use now, the oldest first. */
export async function allMetrics(options: CallOptions = {}): Promise<SandboxMetrics[]> {
  const { connection = sharedConnection(), signal, deadlineMs = QUICK_MS } = options;
  const { metrics } = await connection.json<{ metrics: SandboxMetrics[] }>({
    method: "GET",
    path: "/v1/metrics",
    signal,
    deadlineMs,
    purpose: "measure the sandboxes",
  });
  return metrics;
}

/** @internal of one sandbox, by the path of its resource */
export async function* watchMetrics(
  connection: Connection,
  path: string,
  name: string,
  { signal, deadlineMs = QUICK_MS, intervalMs }: WatchMetricsOptions,
): AsyncGenerator<SandboxMetrics> {
  const response = await connection.stream({
    method: "GET",
    path,
    query: { intervalMs },
    signal,
    deadlineMs,
    purpose: `watch the metrics of sandbox ${name}`,
  });
  try {
    yield* jsonLines<SandboxMetrics>(response);
  } finally {
    response.destroy();
  }
}
