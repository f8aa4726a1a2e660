import { closeSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import type { Node, NodeLog, Nodes } from "./nodes.ts";
import { isEntryName } from "./request-body.ts";

const COMPACT_BYTES = 4 * 1024 * 1024;

/**
 * What a new daemon must know of a folder that an old one served: which names the kernel's numbers stand for, and how much
 * was written. A line each, written before the guest is told; a line that the old one died in is left out.
 *
 *     + ID PARENT DEVICE:INODE NAME (base64)     - ID     q BYTES
 */
export class Journal implements NodeLog {
  readonly #file: string;
  #fd: number;
  #bytes = 0;
  #compactAt = COMPACT_BYTES;
  #muted = false;

  constructor(file: string) {
    this.#file = file;
    this.#fd = openSync(file, "a", 0o600);
  }

  added(node: Node): void {
    this.#write(line(node));
  }

  removed({ id }: Node): void {
    this.#write(`- ${id}\n`);
  }

  written(bytes: number): void {
    this.#write(`q ${bytes}\n`);
  }

  /** Fills `nodes` with what an earlier daemon knew. Returns how much was written. */
  restore(nodes: Nodes): number {
    let written = 0;
    this.#muted = true;
    const text = readFileSync(this.#file, "latin1");
    const complete = text.slice(0, text.lastIndexOf("\n") + 1);
    for (const entry of complete.split("\n")) {
      const [kind, id = "", parent = "", identity = "", name = ""] = entry.split(" ");
      if (kind === "q") written = Number(id) || 0;
      if (kind === "-") {
        const node = nodes.find(Number(id));
        if (node !== undefined && node !== nodes.root) {
          node.lookups = 0;
          nodes.detach(node);
        }
      }
      const bytes = Buffer.from(name, "base64");
      if (kind === "+" && isEntryName(bytes)) nodes.restore(Number(id), Number(parent), bytes, identity);
    }
    this.#muted = false;
    this.#compact(nodes, written);
    return written;
  }

  /** Starts the file anew when it holds much that is over. */
  compactIfLarge(nodes: Nodes, written: number): void {
    if (this.#bytes > this.#compactAt) this.#compact(nodes, written);
  }

  #compact(nodes: Nodes, written: number): void {
    const fresh = `${this.#file}.new`;
    const fd = openSync(fresh, "w", 0o600);
    this.#bytes = 0;
    closeSync(this.#fd);
    this.#fd = fd;
    // A directory stands before what is in it, whatever was moved where.
    const waiting: Node[] = [nodes.root];
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
      if (node !== nodes.root) this.#write(line(node));
      if (node.children !== undefined) waiting.push(...node.children.values());
    }
    this.written(written);
    renameSync(fresh, this.#file);
    this.#compactAt = Math.max(COMPACT_BYTES, 2 * this.#bytes);
  }

  close(): void {
    this.#muted = true; // what is still under way may end later
    closeSync(this.#fd);
  }

  #write(text: string): void {
    if (this.#muted) return;
    this.#bytes += text.length;
    writeSync(this.#fd, text);
  }
}

function line({ id, parent, identity, name }: Node): string {
  return `+ ${id} ${parent!.id} ${identity} ${name.toString("base64")}\n`;
}
