import { type FileHandle, open, unlink } from "node:fs/promises";
import { SandboxError } from "../../contract/errors.ts";
import { writeFully } from "../write-fully.ts";
import { diskError, encodeHeader } from "./qcow2.ts";
import { CLUSTER_BYTES, type Cluster, Qcow2Clusters, TABLE_ENTRIES } from "./qcow2-clusters.ts";

/**
 * Makes one overlay of several. Constant memory: one table of each at a time.
 *
 * A VMM that its guest owns may have written the topmost: it could be of any size, or name one cluster a million times, which would be a
 * million clusters here. So it is no larger than it may be, and nothing is written that the files cannot have.
 */

const ZEROS = 1n;
/** The one reference to a cluster is this table's. */
const COPIED = 1n << 63n;
const REFCOUNTS_PER_BLOCK = CLUSTER_BYTES / 2;

/**
 * Writes to `target`, which must not exist, what the overlays `levels` (lowest first) show on top of what is below the first of them. It
 * has the size of the topmost.
 *
 * @param maxBytes the largest disk that it may be
 * @throws `invalid_argument` for an overlay that is not like ours or too large, `resource_exhausted`; no file is left then
 */
export async function mergeQcow2(levels: readonly string[], target: string, maxBytes: number): Promise<void> {
  await using overlays = new Overlays();
  for (const path of levels) overlays.list.unshift(await Qcow2Clusters.open(path));
  const virtualSizeBytes = overlays.list[0]!.virtualSizeBytes;
  if (virtualSizeBytes > maxBytes) {
    const path = levels.at(-1);
    throw new SandboxError(
      "invalid_argument",
      `${path} is a disk of ${virtualSizeBytes} bytes, ${maxBytes} are allowed`,
    );
  }
  let file: FileHandle;
  try {
    file = await open(target, "wx", 0o600);
  } catch (error) {
    throw diskError(error, target);
  }
  try {
    await new Merge(file, overlays.list, virtualSizeBytes).run();
  } catch (error) {
    await unlink(target).catch(() => {});
    throw error instanceof SandboxError ? error : diskError(error, target);
  } finally {
    await file.close();
  }
}

/** Topmost first. */
class Overlays implements AsyncDisposable {
  readonly list: Qcow2Clusters[] = [];

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.list.map((overlay) => overlay[Symbol.asyncDispose]()));
  }
}

class Merge {
  readonly #file: FileHandle;
  readonly #overlays: readonly Qcow2Clusters[];
  readonly #virtualSizeBytes: number;
  readonly #maxClusters: number;
  readonly #cluster = Buffer.alloc(CLUSTER_BYTES);
  /** The first is the header's. */
  #clusters = 1;

  constructor(file: FileHandle, overlays: readonly Qcow2Clusters[], virtualSizeBytes: number) {
    this.#file = file;
    this.#overlays = overlays;
    this.#virtualSizeBytes = virtualSizeBytes;
    this.#maxClusters = overlays.reduce((sum, { clustersInFile }) => sum + clustersInFile, 0);
  }

  async run(): Promise<void> {
    const tables = Math.ceil(this.#virtualSizeBytes / CLUSTER_BYTES / TABLE_ENTRIES);
    const l1 = Buffer.alloc(Math.ceil((tables * 8) / CLUSTER_BYTES) * CLUSTER_BYTES);
    for (let table = 0; table < tables; table++) {
      const offset = await this.#mergeTable(table);
      if (offset !== undefined) l1.writeBigUInt64BE(BigInt(offset) | COPIED, table * 8);
    }
    const l1Offset = await this.#append(l1);
    const refcountTable = await this.#refcounts();
    const header = encodeHeader({
      virtualSizeBytes: this.#virtualSizeBytes,
      l1Entries: tables,
      l1Offset,
      refcountTableOffset: refcountTable.offset,
      refcountTableClusters: refcountTable.clusters,
    });
    await writeFully(this.#file, header, 0);
  }

  /** @returns where its table is, if any of the overlays has one */
  async #mergeTable(table: number): Promise<number | undefined> {
    const sources: { overlay: Qcow2Clusters; clusters: Cluster[] }[] = [];
    for (const overlay of this.#overlays) {
      const clusters = await overlay.table(table);
      if (clusters !== undefined) sources.push({ overlay, clusters });
    }
    if (sources.length === 0) return undefined;
    const l2 = Buffer.alloc(CLUSTER_BYTES);
    for (let i = 0; i < TABLE_ENTRIES; i++) {
      const source = sources.find(({ clusters }) => clusters[i] !== undefined);
      if (source === undefined) continue;
      const cluster = source.clusters[i]!;
      let entry = ZEROS;
      if (cluster !== "zeros") {
        await source.overlay.read(cluster, this.#cluster);
        entry = BigInt(await this.#appendOfTheirs(this.#cluster)) | COPIED;
      }
      l2.writeBigUInt64BE(entry, i * 8);
    }
    return this.#appendOfTheirs(l2);
  }

  /** Each cluster of the file is used once, those that count too. */
  async #refcounts(): Promise<{ offset: number; clusters: number }> {
    const before = this.#clusters;
    let blocks = 0;
    let clusters = 0;
    for (let total = before; ; ) {
      blocks = Math.ceil(total / REFCOUNTS_PER_BLOCK);
      clusters = Math.ceil((blocks * 8) / CLUSTER_BYTES);
      if (before + blocks + clusters === total) break;
      total = before + blocks + clusters;
    }
    const total = before + blocks + clusters;
    const table = Buffer.alloc(clusters * CLUSTER_BYTES);
    for (let block = 0; block < blocks; block++) {
      const counts = Buffer.alloc(CLUSTER_BYTES);
      const used = Math.min(REFCOUNTS_PER_BLOCK, total - block * REFCOUNTS_PER_BLOCK);
      for (let i = 0; i < used; i++) counts.writeUInt16BE(1, i * 2);
      table.writeBigUInt64BE(BigInt(await this.#append(counts)), block * 8);
    }
    return { offset: await this.#append(table), clusters };
  }

  /** A cluster that one of the overlays has. */
  #appendOfTheirs(cluster: Buffer): Promise<number> {
    if (this.#clusters < this.#maxClusters) return this.#append(cluster);
    throw new SandboxError("invalid_argument", "the disk has clusters that are used more than once");
  }

  async #append(bytes: Buffer): Promise<number> {
    const offset = this.#clusters * CLUSTER_BYTES;
    await writeFully(this.#file, bytes, offset);
    this.#clusters += bytes.length / CLUSTER_BYTES;
    return offset;
  }
}
