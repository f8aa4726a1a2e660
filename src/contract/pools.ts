import { z } from "zod";
import { DEFAULT_CPUS, DEFAULT_MEMORY_MIB, MAX_CPUS, MAX_MEMORY_MIB, MIN_MEMORY_MIB } from "./sandbox.ts";

/** Pools: VMs that are loaded and wait, so that a sandbox of their image and shape is there at once. */

/** The most VMs that one pool keeps. */
export const MAX_POOLED = 1_000;

const shape = {
  image: z.string().min(1).max(512).meta({ description: "Image, e.g. `msb/python`." }),
  cpus: z.int().min(1).max(MAX_CPUS).default(DEFAULT_CPUS),
  memoryMiB: z.int().min(MIN_MEMORY_MIB).max(MAX_MEMORY_MIB).default(DEFAULT_MEMORY_MIB),
  network: z.boolean().default(true).meta({
    description: "Whether they have a network interface: for every scope but `none`.",
  }),
};

export const poolRequest = z
  .strictObject({
    ...shape,
    count: z.int().min(1).max(MAX_POOLED).meta({ description: "How many to keep ready." }),
  })
  .meta({ id: "PoolRequest" });
export type PoolRequest = z.output<typeof poolRequest>;
export type PoolRequestInput = z.input<typeof poolRequest>;

export const poolInfo = z
  .object({
    image: z.string(),
    cpus: z.int(),
    memoryMiB: z.int(),
    network: z.boolean(),
    wanted: z.int(),
    ready: z.int(),
    filling: z.boolean().meta({ description: "One is just being made." }),
    learned: z.boolean().meta({ description: "Nobody asked for it: it was used recently." }),
    hits: z.int().meta({ description: "Sandboxes that were made of it, since the daemon's start." }),
    misses: z
      .int()
      .meta({ description: "Sandboxes that would have been, if there had been one ready; since then." }),
    problem: z.string().optional().meta({ description: "Why there are fewer than are wanted." }),
  })
  .meta({ id: "Pool" });
export type PoolInfo = z.output<typeof poolInfo>;
