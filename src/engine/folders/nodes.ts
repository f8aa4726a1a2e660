import { Errno, FuseError, ROOT_ID } from "./fuse-protocol.ts";

/** Files that the guest's kernel may know at a time. */
export const MAX_NODES = 250_000;

/** A file that the guest's kernel knows, as the name by which it found it. */
export interface Node {
  readonly id: number;
  /** Which file of the host it is, `device:inode`: a name may come to mean another one. */
  identity: string;
  /** Undefined once the name is gone, and for the root. */
  parent: Node | undefined;
  name: Buffer;
  children: Map<string, Node> | undefined;
  /** How often the kernel was told of it and has not forgotten. */
  lookups: number;
  /** Open handles of it. */
  handles: number;
}

/** Told of every change that a later daemon must know of. */
export interface NodeLog {
  added(node: Node): void;
  removed(node: Node): void;
}

/** The nodes by number and by place. Numbers are never given twice. */
export class Nodes {
  readonly root: Node = newNode(ROOT_ID, "", undefined, Buffer.alloc(0));
  readonly #byId = new Map<number, Node>([[ROOT_ID, this.root]]);
  readonly #log: NodeLog;
  #next = ROOT_ID + 1;

  constructor(log: NodeLog) {
    this.#log = log;
  }

  get size(): number {
    return this.#byId.size;
  }

  *[Symbol.iterator](): Generator<Node> {
    for (const node of this.#byId.values()) if (node !== this.root) yield node;
  }

  /** @throws FuseError ESTALE */
  get(id: number): Node {
    const node = this.#byId.get(id);
    if (node === undefined) throw new FuseError(Errno.ESTALE);
    return node;
  }

  find(id: number): Node | undefined {
    return this.#byId.get(id);
  }

  /** The names that lead to a node. @throws FuseError ESTALE if its name is gone */
  names(node: Node): Buffer[] {
    const names: Buffer[] = [];
    for (let at = node; at !== this.root; ) {
      names.push(at.name);
      if (at.parent === undefined) throw new FuseError(Errno.ESTALE);
      at = at.parent;
    }
    return names.reverse();
  }

  /** The node of a name, new if the name meant another file before. The kernel is told of it. @throws FuseError ENFILE */
  entry(parent: Node, name: Buffer, identity: string): Node {
    const key = keyOf(name);
    const known = parent.children?.get(key);
    if (known?.identity === identity) {
      known.lookups += 1;
      return known;
    }
    if (this.#byId.size >= MAX_NODES) throw new FuseError(Errno.ENFILE);
    if (known !== undefined) this.detach(known);
    const node = newNode(this.#next++, identity, parent, name);
    node.lookups = 1;
    this.#place(node);
    this.#log.added(node);
    return node;
  }

  child(parent: Node, name: Buffer): Node | undefined {
    return parent.children?.get(keyOf(name));
  }

  /** Its name is gone: the node lasts as long as the kernel knows it. */
  detach(node: Node): void {
    if (node.parent === undefined) return;
    const { parent } = node;
    parent.children?.delete(keyOf(node.name));
    node.parent = undefined;
    this.#log.removed(node);
    this.#drop(node);
    this.#drop(parent);
  }

  /** It has another name now. */
  move(node: Node, parent: Node, name: Buffer): void {
    const before = node.parent;
    before?.children?.delete(keyOf(node.name));
    const replaced = this.child(parent, name);
    if (replaced !== undefined && replaced !== node) this.detach(replaced);
    node.parent = parent;
    node.name = name;
    this.#place(node);
    this.#log.added(node);
    if (before !== undefined) this.#drop(before);
  }

  forget(node: Node, lookups: number): void {
    node.lookups = Math.max(0, node.lookups - lookups);
    this.#drop(node);
  }

  closed(node: Node): void {
    node.handles -= 1;
    this.#drop(node);
  }

  /** A node of an earlier daemon. How often the kernel was told of it is not known: it stays until its name goes. */
  restore(id: number, parentId: number, name: Buffer, identity: string): void {
    const parent = this.#byId.get(parentId);
    if (parent === undefined || id === ROOT_ID || this.#byId.size >= MAX_NODES) return;
    const known = this.#byId.get(id);
    if (known !== undefined) {
      for (let up: Node | undefined = parent; up !== undefined; up = up.parent) if (up === known) return;
      this.move(known, parent, name);
      return;
    }
    const replaced = this.child(parent, name);
    const node = newNode(id, identity, parent, name);
    node.lookups = Infinity;
    if (replaced !== undefined) this.detach(replaced);
    this.#place(node);
    this.#next = Math.max(this.#next, id + 1);
  }

  #place(node: Node): void {
    const parent = node.parent!;
    parent.children ??= new Map();
    parent.children.set(keyOf(node.name), node);
    this.#byId.set(node.id, node);
    // A parent that was dropped for want of children is one again.
    this.#byId.set(parent.id, parent);
  }

  #drop(node: Node): void {
    for (let at: Node | undefined = node; at !== undefined && at !== this.root; ) {
      if (at.lookups > 0 || at.handles > 0 || (at.children?.size ?? 0) > 0) return;
      if (!this.#byId.delete(at.id)) return;
      const parent: Node | undefined = at.parent;
      if (parent !== undefined) {
        parent.children?.delete(keyOf(at.name));
        at.parent = undefined;
        this.#log.removed(at);
      }
      at = parent;
    }
  }
}

function newNode(id: number, identity: string, parent: Node | undefined, name: Buffer): Node {
  return { id, identity, parent, name, children: undefined, lookups: 0, handles: 0 };
}

/** Names are bytes; of a Map's keys latin1 makes one for each. */
function keyOf(name: Buffer): string {
  return name.toString("latin1");
}
