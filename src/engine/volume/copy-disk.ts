import { copySparse } from "../copy-sparse.ts";
import { syncPath } from "../sync-path.ts";

const DEADLINE_MS = 30 * 60_000;

/**
 * Copies a disk that nobody writes to, with its holes, and its blocks shared where the file system can. On disk when it returns.
 * @throws `resource_exhausted`, `timeout`, `cancelled`, `internal` with what cp says
 */
export async function copyDisk(
  source: string,
  target: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<void> {
  // What QEMU has copied has no holes: it writes zeros where the disk that it copies has some.
  await copySparse(source, target, { what: "a volume", sparse: "always", deadlineMs: DEADLINE_MS, signal });
  await syncPath(target);
}
