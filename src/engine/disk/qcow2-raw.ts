import { type FileHandle, open, unlink } from "node:fs/promises";
import { SandboxError } from "../../contract/errors.ts";
import { writeFully } from "../write-fully.ts";
import { diskError } from "./qcow2.ts";
import { CLUSTER_BYTES, Qcow2Clusters, TABLE_ENTRIES } from "./qcow2-clusters.ts";

/**
 * Writes to `target`, which must not exist, the raw disk that the overlay shows on top of nothing, with holes where it has zeros. A VMM that
 * its guest owns may have written the overlay: no more is written than the disk has.
 *
 * @param sizeBytes of the disk
 * @throws `invalid_argument` for an overlay that is not like ours or of another size, `resource_exhausted`; no file is left then
 */
export async function rawOfQcow2(overlay: string, target: string, sizeBytes: number): Promise<void> {
  await using clusters = await Qcow2Clusters.open(overlay);
  if (clusters.virtualSizeBytes !== sizeBytes) {
    const found = clusters.virtualSizeBytes;
    throw new SandboxError("invalid_argument", `${overlay} is a disk of ${found} bytes, not of ${sizeBytes}`);
  }
  let file: FileHandle;
  try {
    file = await open(target, "wx", 0o600);
  } catch (error) {
    throw diskError(error, target);
  }
  try {
    await file.truncate(sizeBytes);
    await write(clusters, file);
  } catch (error) {
    await unlink(target).catch(() => {});
    throw error instanceof SandboxError ? error : diskError(error, target);
  } finally {
    await file.close();
  }
}

async function write(overlay: Qcow2Clusters, file: FileHandle): Promise<void> {
  const size = overlay.virtualSizeBytes;
  const bytes = Buffer.alloc(CLUSTER_BYTES);
  const zeros = Buffer.alloc(CLUSTER_BYTES);
  for (let table = 0; table * TABLE_ENTRIES * CLUSTER_BYTES < size; table++) {
    const entries = (await overlay.table(table)) ?? [];
    for (const [i, cluster] of entries.entries()) {
      const at = (table * TABLE_ENTRIES + i) * CLUSTER_BYTES;
      // What a table says beyond the disk's end is nobody's.
      if (typeof cluster !== "number" || at >= size) continue;
      await overlay.read(cluster, bytes);
      if (!bytes.equals(zeros)) await writeFully(file, bytes.subarray(0, size - at), at);
    }
  }
}
