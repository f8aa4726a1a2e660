import type { WarmShape } from "../sandbox/index.ts";

/** What a pool keeps VMs of: an image by its name, and a shape. */
export interface PoolShape extends WarmShape {
  image: string;
}

/** The same for the same. */
export function keyOf({ image, cpus, memoryMiB, network }: PoolShape): string {
  return JSON.stringify([image, cpus, memoryMiB, network]);
}

export function sameShape(a: WarmShape, b: WarmShape): boolean {
  return a.cpus === b.cpus && a.memoryMiB === b.memoryMiB && a.network === b.network;
}
