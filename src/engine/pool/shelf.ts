import type { PoolInfo } from "../../contract/index.ts";
import type { PoolShape } from "./shape.ts";

/** What a pool needs of a VM that waits. */
export interface PooledVm {
  readonly imageDigest: string;
  /** Resolves with the reason when it can be claimed no more. */
  readonly gone: Promise<string>;
  /** Ends it, and leaves nothing. */
  discard(): Promise<void>;
}

/** The VMs of one image and shape, and what became of them. */
export class Shelf<Vm extends PooledVm> {
  readonly shape: PoolShape;
  /** How many somebody has asked for. */
  asked: number;
  /** How many recent use speaks for. */
  learned = 0;
  /** Of the image, as its name was last looked up. */
  digest: string | undefined;
  /** Oldest first. */
  readonly ready: Vm[] = [];
  hits = 0;
  misses = 0;
  problem: string | undefined;
  /** Not before this is another one made; by the pool's clock. */
  notBefore = 0;

  constructor(shape: PoolShape, asked: number) {
    this.shape = shape;
    this.asked = asked;
  }

  get wanted(): number {
    return Math.max(this.asked, this.learned);
  }

  /** Takes those that are of no use any more. @returns them */
  takeOut(isUseless: (vm: Vm, place: number) => boolean): Vm[] {
    const useless = this.ready.filter(isUseless);
    for (const vm of useless) this.ready.splice(this.ready.indexOf(vm), 1);
    return useless;
  }

  info(filling: boolean): PoolInfo {
    const { ready, hits, misses, problem, wanted } = this;
    return {
      ...this.shape,
      wanted,
      ready: ready.length,
      filling,
      learned: this.asked === 0,
      hits,
      misses,
      ...(problem !== undefined && { problem }),
    };
  }
}

/**
 * How many each may have of what all together may take: first what was asked for, one each in turn; then what recent use speaks for.
 *
 * @param shelves those that go first come first
 */
export function allot<Vm extends PooledVm>(
  shelves: readonly Shelf<Vm>[],
  budgetMiB: number,
): Map<Shelf<Vm>, number> {
  const allotted = new Map(shelves.map((shelf) => [shelf, 0]));
  let left = budgetMiB;
  const give = (limit: (shelf: Shelf<Vm>) => number) => {
    for (let given = true; given; ) {
      given = false;
      for (const shelf of shelves) {
        const count = allotted.get(shelf)!;
        if (count >= limit(shelf) || shelf.shape.memoryMiB > left) continue;
        allotted.set(shelf, count + 1);
        left -= shelf.shape.memoryMiB;
        given = true;
      }
    }
  };
  give(({ asked }) => asked);
  give(({ wanted }) => wanted);
  return allotted;
}
