import type { BigIntStats } from "node:fs";
import type { Owner } from "./answers.ts";
import { Errno, FuseError } from "./fuse-protocol.ts";
import type { Handles } from "./handles.ts";
import type { Inside } from "./inside.ts";
import type { Node, Nodes } from "./nodes.ts";
import type { Quota } from "./quota.ts";

/** What the operations on one folder share. */
export interface FolderState {
  readonly inside: Inside;
  readonly nodes: Nodes;
  readonly handles: Handles;
  readonly owner: Owner;
  readonly readOnly: boolean;
  readonly quota: Quota;
}

export function identityOf(stat: BigIntStats): string {
  return `${stat.dev}:${stat.ino}`;
}

/** Calls `use` with a descriptor of a node's file: of that very file, not of one that has its name by now. */
export function withNode<T>(
  { inside, nodes }: FolderState,
  node: Node,
  use: (file: number, stat: BigIntStats) => T,
): T {
  return inside.file(nodes.names(node), (file, stat) => {
    if (node !== nodes.root && identityOf(stat) !== node.identity) throw new FuseError(Errno.ESTALE);
    return use(file, stat);
  });
}

/** Calls `use` with a descriptor of a node's directory. */
export function withDirectory<T>(state: FolderState, node: Node, use: (directory: number) => T): T {
  return state.inside.directory(state.nodes.names(node), use);
}

export function assertWritable({ readOnly }: FolderState): void {
  if (readOnly) throw new FuseError(Errno.EROFS);
}
