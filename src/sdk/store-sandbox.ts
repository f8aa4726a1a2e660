import type { SnapshotInfo, SnapshotRequestInput } from "../contract/index.ts";
import type { Connection } from "./connection.ts";
import { SLOW_MS, type SlowCallOptions } from "./options.ts";

/** Stores the state of a sandbox. Deadline: 15 minutes. */
export function storeSandbox(
  connection: Connection,
  sandbox: string,
  body: SnapshotRequestInput,
  { signal, deadlineMs = SLOW_MS, onProgress }: SlowCallOptions,
): Promise<SnapshotInfo> {
  return connection.json<SnapshotInfo>({
    method: "POST",
    path: `/v1/sandboxes/${encodeURIComponent(sandbox)}/snapshots`,
    body,
    signal,
    deadlineMs,
    onProgress,
    purpose: `store sandbox ${sandbox}`,
  });
}
