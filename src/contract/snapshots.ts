import { z } from "zod";
import { sandboxName, snapshotName, snapshotRef } from "./names.ts";
import { networkSpec } from "./network.ts";
import { sandboxSpec } from "./sandbox.ts";

/** Stored states of sandboxes: snapshots that users name, what is restored from them, and forks, which store a state that nobody names. */

/** The most sandboxes that one request makes of one state. */
export const MAX_RESTORED = 100;

/** The longest command that an image is prepared with, characters. */
export const MAX_PREPARE_COMMAND = 65_536;

/** `running`: memory, processes and disks; `stopped`: disks. */
export const SNAPSHOT_KINDS = ["running", "stopped"] as const;

const volumes = z.enum(["refuse", "copy"]).default("refuse").meta({
  description:
    "Named volumes that the sandbox may write to: refuse to store it, or store a copy of them as they are then. Default: refuse.",
});

const count = z.int().min(1).max(MAX_RESTORED).default(1).meta({
  description: "How many sandboxes to make. More than one are named `<name>-1`, `<name>-2` and so on.",
});

const childName = sandboxName.optional().meta({ description: "Default: generated." });

/** What an image was prepared with. */
export const preparation = z
  .strictObject({
    image: z.string().min(1).max(512),
    digest: z.string().min(1).max(128).meta({ description: "Digest of the image that it was made of." }),
    run: z.string().min(1).max(MAX_PREPARE_COMMAND).meta({ description: "Script that was started in it." }),
    ready: z
      .string()
      .min(1)
      .max(MAX_PREPARE_COMMAND)
      .optional()
      .meta({ description: "Script that ended with 0 when it was ready." }),
    recipe: z.string().max(128).optional().meta({
      description: "Hash of what else it was made with: whoever prepares it tells by it what has changed.",
    }),
  })
  .meta({ id: "Preparation" });
export type Preparation = z.output<typeof preparation>;

export const snapshotRequest = z
  .strictObject({
    name: snapshotName.optional().meta({ description: "Default: the sandbox's name and a number." }),
    replaces: snapshotRef.optional().meta({
      description:
        "Id of the snapshot that has this name now: it is removed once the new one is stored. Default: the name must be free.",
    }),
    volumes,
    prepared: preparation.optional().meta({
      description:
        "Makes it a prepared image: sandboxes may be created from its name. Kept as it is; nothing is run.",
    }),
  })
  .meta({ id: "SnapshotRequest" });
export type SnapshotRequest = z.output<typeof snapshotRequest>;
export type SnapshotRequestInput = z.input<typeof snapshotRequest>;

const spec = sandboxSpec.shape;

/** What may differ from the sandbox that a snapshot is of. There are no defaults: what is left out stays. */
export const restoreChanges = z
  .strictObject({
    env: spec.env
      .unwrap()
      .optional()
      .meta({ description: "More variables, for what is started from now on." }),
    workdir: spec.workdir,
    user: spec.user,
    labels: spec.labels.unwrap().optional().meta({ description: "More labels." }),
    network: networkSpec.optional().meta({
      description:
        "Another network, with its rules and published ports. Whether there is one at all cannot change.",
    }),
    maxDurationMs: spec.maxDurationMs,
    idleTimeoutMs: spec.idleTimeoutMs,
    onIdle: spec.onIdle.unwrap().optional(),
    autoRemove: spec.autoRemove.unwrap().optional(),
  })
  .meta({ id: "RestoreChanges" });
export type RestoreChanges = z.output<typeof restoreChanges>;

export const restoreRequest = z
  .strictObject({ name: childName, count, changes: restoreChanges.optional() })
  .meta({ id: "RestoreRequest" });
export type RestoreRequest = z.output<typeof restoreRequest>;
export type RestoreRequestInput = z.input<typeof restoreRequest>;

export const forkRequest = z.strictObject({ name: childName, count, volumes }).meta({ id: "ForkRequest" });
export type ForkRequest = z.output<typeof forkRequest>;
export type ForkRequestInput = z.input<typeof forkRequest>;

export const snapshotInfo = z
  .object({
    id: z.string(),
    name: z.string(),
    createdAt: z.iso.datetime(),
    kind: z.enum(SNAPSHOT_KINDS).meta({
      description: "`running`: with memory and processes; `stopped`: disks alone.",
    }),
    sandbox: z.object({ id: z.string(), name: z.string() }).meta({ description: "What it is of." }),
    image: z.string(),
    imageDigest: z.string(),
    parent: z.string().optional().meta({
      description:
        "Of one that ran: id of the snapshot that its sandbox had been restored from. It may be gone; this one needs it no more.",
    }),
    generation: z
      .int()
      .meta({ description: "Of one that ran: how often what it is of had been restored. Otherwise 0." }),
    cpus: z.int(),
    memoryMiB: z.int(),
    diskMiB: z.int(),
    accelerator: z.string().meta({ description: "It loads with this one only." }),
    vmm: z
      .object({ name: z.string(), version: z.string() })
      .meta({ description: "It loads with this one only." }),
    bytes: z
      .object({ memory: z.int(), disks: z.int(), volumes: z.int() })
      .meta({ description: "Space that it takes on the host's disk by itself." }),
    processes: z.int().meta({ description: "Processes that ran in it." }),
    volumes: z.array(z.string()).meta({ description: "Named volumes that it holds copies of." }),
    prepared: preparation.optional(),
  })
  .meta({ id: "Snapshot" });
export type SnapshotInfo = z.output<typeof snapshotInfo>;
