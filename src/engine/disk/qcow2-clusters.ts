import { type FileHandle, open } from "node:fs/promises";
import { SandboxError } from "../../contract/errors.ts";
import { readQcow2Info } from "./qcow2.ts";

/**
 * Where a qcow2 overlay of ours has what (QEMU docs/interop/qcow2.txt): clusters of 64 KiB, each of the overlay's own, known to be zeros, or
 * the file below's. A VMM that its guest owns may have written the file: offsets that lead out of it, and what QEMU makes only when it is
 * asked to (compression, subclusters, encryption, data in another file) are refused.
 */

export const CLUSTER_BYTES = 64 * 1024;
/** Clusters that one table tells of: 512 MiB. */
export const TABLE_ENTRIES = CLUSTER_BYTES / 8;

const OFFSET = 0x00ff_ffff_ffff_fe00n;
const COMPRESSED = 1n << 62n;
const ZERO = 1n;
/** Bits of the header: 0 not closed in order, 1 damaged. The others change what is where. */
const HARMLESS = 0x1n;

/** Offset in the overlay's file; or zeros; undefined: the file below has it. */
export type Cluster = number | "zeros" | undefined;

export class Qcow2Clusters implements AsyncDisposable {
  readonly virtualSizeBytes: number;
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #fileBytes: number;
  readonly #l1: BigUint64Array;

  private constructor(path: string, file: FileHandle, fileBytes: number, size: number, l1: BigUint64Array) {
    this.#path = path;
    this.#file = file;
    this.#fileBytes = fileBytes;
    this.virtualSizeBytes = size;
    this.#l1 = l1;
  }

  /** @throws `invalid_argument` for a file that is none, or not like ours */
  static async open(path: string): Promise<Qcow2Clusters> {
    const { virtualSizeBytes, clusterBytes } = await readQcow2Info(path);
    const file = await open(path, "r");
    try {
      const header = Buffer.alloc(104);
      await file.read(header, 0, header.length, 0);
      const incompatible = header.readBigUInt64BE(72);
      if (clusterBytes !== CLUSTER_BYTES || header.readUInt32BE(4) !== 3 || (incompatible & ~HARMLESS) !== 0n)
        throw strange(path, "it has a form that we do not make");
      if (header.readUInt32BE(32) !== 0) throw strange(path, "it is encrypted");
      const l1 = await readTable(file, Number(header.readBigUInt64BE(40)), header.readUInt32BE(36));
      const { size } = await file.stat();
      return new Qcow2Clusters(path, file, size, virtualSizeBytes, l1);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The most that it can have of its own, tables and data, each used once. */
  get clustersInFile(): number {
    return Math.ceil(this.#fileBytes / CLUSTER_BYTES);
  }

  /** Of the clusters from `TABLE_ENTRIES * table` on; undefined if the overlay has none of them. */
  async table(table: number): Promise<Cluster[] | undefined> {
    const entry = this.#l1[table] ?? 0n;
    const offset = this.#checked(entry);
    if (offset === 0) return undefined;
    const entries = await readTable(this.#file, offset, TABLE_ENTRIES);
    return Array.from(entries, (value) => this.#cluster(value));
  }

  /** What is missing at the end of the file is zeros. */
  async read(offset: number, into: Buffer): Promise<void> {
    const { bytesRead } = await this.#file.read(into, 0, into.length, offset);
    into.fill(0, bytesRead);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#file.close();
  }

  #cluster(entry: bigint): Cluster {
    if ((entry & COMPRESSED) !== 0n) throw strange(this.#path, "it has a compressed cluster");
    if ((entry & ZERO) !== 0n) return "zeros";
    const offset = this.#checked(entry);
    return offset === 0 ? undefined : offset;
  }

  #checked(entry: bigint): number {
    const offset = Number(entry & OFFSET);
    if (offset % CLUSTER_BYTES !== 0 || offset >= this.#fileBytes)
      if (offset !== 0) throw strange(this.#path, "it has a cluster outside of its file");
    return offset;
  }
}

async function readTable(file: FileHandle, offset: number, entries: number): Promise<BigUint64Array> {
  const bytes = Buffer.alloc(entries * 8);
  await file.read(bytes, 0, bytes.length, offset);
  return BigUint64Array.from({ length: entries }, (_, i) => bytes.readBigUInt64BE(i * 8));
}

function strange(path: string, how: string): SandboxError {
  return new SandboxError("invalid_argument", `${path} is not a usable qcow2 file: ${how}`);
}
