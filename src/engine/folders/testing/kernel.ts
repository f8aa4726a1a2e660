import type { Folder } from "../folder.ts";
import { Errno, errnoOf, FuseError, Opcode, ROOT_ID } from "../fuse-protocol.ts";

/** Speaks to a folder as a guest's kernel does, or as a hostile one might. */
export class Kernel {
  readonly #folder: Folder;
  /** Set while an earlier daemon's requests come again. */
  repeated = false;

  constructor(folder: Folder) {
    this.#folder = folder;
  }

  /** @returns the answer's body; the errno, if it fails */
  async ask(opcode: number, node: number, ...parts: (Buffer | number | string)[]): Promise<Buffer | number> {
    const body = Buffer.concat(parts.map(bytesOf));
    try {
      const request = { opcode, node, body, unique: Buffer.alloc(8), repeated: this.repeated };
      return (await this.#folder.do(request)) ?? Buffer.alloc(0);
    } catch (error) {
      if (!(error instanceof FuseError) && typeof (error as NodeJS.ErrnoException).errno !== "number")
        throw error;
      return errnoOf(error);
    }
  }

  async lookup(name: string, parent = ROOT_ID): Promise<number> {
    return nodeOf(await this.ask(Opcode.lookup, parent, name));
  }

  /** The node of a path of the folder. */
  async walk(path: string): Promise<number> {
    let node = ROOT_ID;
    for (const name of path.split("/")) node = await this.lookup(name, node);
    return node;
  }

  async create(name: string, parent = ROOT_ID, mode = 0o644): Promise<{ node: number; handle: number }> {
    const made = await this.ask(Opcode.create, parent, u32(2), u32(mode), u32(0), u32(0), name);
    return { node: nodeOf(made), handle: Number((made as Buffer).readBigUInt64LE(128)) };
  }

  async open(node: number, flags = 0): Promise<number> {
    const opened = await this.ask(Opcode.open, node, u32(flags), u32(0));
    if (typeof opened === "number") throw new Error(`open: errno ${opened}`);
    return Number(opened.readBigUInt64LE(0));
  }

  async write(node: number, handle: number, data: string | Buffer, offset = 0): Promise<Buffer | number> {
    const bytes = Buffer.from(data);
    return this.ask(Opcode.write, node, handle, offset, u32(bytes.length), Buffer.alloc(20), bytes);
  }

  async read(node: number, handle: number, size = 4096): Promise<string> {
    const read = await this.ask(Opcode.read, node, handle, 0, u32(size), Buffer.alloc(20));
    if (typeof read === "number") throw new Error(`read: errno ${read}`);
    return read.toString();
  }
}

/** @throws naming the errno */
export function nodeOf(entry: Buffer | number): number {
  if (typeof entry === "number") throw new Error(`errno ${nameOf(entry)}`);
  return Number(entry.readBigUInt64LE(0));
}

function nameOf(errno: number): string {
  return Object.entries(Errno).find(([, number]) => number === errno)?.[0] ?? String(errno);
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

/** Numbers are u64, texts end with a NUL. */
function bytesOf(part: Buffer | number | string): Buffer {
  if (typeof part === "string") return Buffer.from(`${part}\0`);
  if (typeof part !== "number") return part;
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(part));
  return bytes;
}
