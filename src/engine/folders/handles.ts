import { closeSync } from "node:fs";
import { Errno, FuseError } from "./fuse-protocol.ts";
import type { Node, Nodes } from "./nodes.ts";

/** Files and listings that a guest may have open in one folder. */
export const MAX_HANDLES = 1024;

/** Something open. It is closed when the guest has let go of it and no operation on it is under way. */
export interface Handle {
  readonly node: Node;
  /** A descriptor; of a listing −1. */
  readonly fd: number;
  /** What a directory holds, once it was read. */
  listing?: Buffer[];
  busy: number;
  released: boolean;
}

/** What is open, by the numbers that the guest was given. A number of an earlier daemon is unknown, and never given again. */
export class Handles {
  readonly #byNumber = new Map<number, Handle>();
  readonly #byNode = new Map<Node, Set<Handle>>();
  readonly #nodes: Nodes;
  #next = Date.now() * 4096;

  constructor(nodes: Nodes) {
    this.#nodes = nodes;
  }

  /** To be asked before anything is opened. @throws FuseError ENFILE */
  reserve(): void {
    if (this.#byNumber.size >= MAX_HANDLES) throw new FuseError(Errno.ENFILE);
  }

  add(node: Node, fd: number): { number: number; handle: Handle } {
    const number = this.#next++;
    const handle: Handle = { node, fd, busy: 0, released: false };
    node.handles += 1;
    this.#byNumber.set(number, handle);
    const those = this.#byNode.get(node) ?? new Set();
    this.#byNode.set(node, those.add(handle));
    return { number, handle };
  }

  /** Takes the place of a number that an earlier daemon gave. */
  restore(number: number, node: Node, fd: number): Handle {
    this.reserve();
    const { number: fresh, handle } = this.add(node, fd);
    this.#byNumber.delete(fresh);
    this.#byNumber.set(number, handle);
    return handle;
  }

  find(number: number): Handle | undefined {
    return this.#byNumber.get(number);
  }

  /** Any open file of a node: of one without a name the only way to it. */
  of(node: Node): Handle | undefined {
    for (const handle of this.#byNode.get(node) ?? []) if (handle.fd >= 0) return handle;
    return undefined;
  }

  /**
   * Keeps a handle open while `work` is under way. Without this a guest that closes what it is writing to could have its
   * bytes end up in whatever file got the number of the descriptor next.
   */
  async use<T>(handle: Handle, work: (fd: number) => Promise<T>): Promise<T> {
    handle.busy += 1;
    try {
      return await work(handle.fd);
    } finally {
      handle.busy -= 1;
      if (handle.released && handle.busy === 0) this.#close(handle);
    }
  }

  release(number: number): void {
    const handle = this.#byNumber.get(number);
    if (handle === undefined) return;
    this.#byNumber.delete(number);
    handle.released = true;
    if (handle.busy === 0) this.#close(handle);
  }

  closeAll(): void {
    for (const number of [...this.#byNumber.keys()]) this.release(number);
  }

  #close(handle: Handle): void {
    const those = this.#byNode.get(handle.node);
    those?.delete(handle);
    if (those?.size === 0) this.#byNode.delete(handle.node);
    if (handle.fd >= 0) closeSync(handle.fd);
    this.#nodes.closed(handle.node);
  }
}
