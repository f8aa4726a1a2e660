import { z } from "zod";
import { platformName } from "./images.ts";
import { inlineFiles, shownInlineFile } from "./inline-files.ts";
import { mounts } from "./mounts.ts";
import { sandboxName } from "./names.ts";
import { networkSpec, publishedPort } from "./network.ts";

/**
 * What a sandbox is asked to be. One schema: CLI flags, HTTP bodies, Sandfiles and every SDK are spellings of it.
 */

/** The smallest guest that boots and still has room for a process, MiB. */
export const MIN_MEMORY_MIB = 128;
export const DEFAULT_MEMORY_MIB = 256;
export const MAX_MEMORY_MIB = 1024 * 1024;
export const DEFAULT_CPUS = 1;
export const MAX_CPUS = 64;
/** Size of the writable layer, MiB; it is sparse, so the default costs nothing until written. */
export const DEFAULT_DISK_MIB = 4096;
/** The blank file system below it has this size. */
export const MIN_DISK_MIB = 4096;
export const MAX_DISK_MIB = 1024 * 1024;
/** With less even the stop of a sandbox, which writes out what it has in memory, would take longer than it may. */
export const MIN_DISK_IOPS = 100;
export const MAX_DISK_IOPS = 10_000_000;
export const MIN_DISK_BYTES_PER_SECOND = 1024 ** 2;
export const MAX_DISK_BYTES_PER_SECOND = 1024 ** 4;

/** A year. */
export const MAX_LIFETIME_MS = 365 * 24 * 3_600_000;

/** What is done with a sandbox that nobody uses: `pause` keeps its memory in memory, `suspend` on disk. */
export const ON_IDLE = ["stop", "pause", "suspend"] as const;
export type OnIdle = (typeof ON_IDLE)[number];

/** When the image of a sandbox is fetched from its registry. */
export const PULL_POLICIES = ["missing", "always", "never"] as const;
export type PullPolicy = (typeof PULL_POLICIES)[number];

const noNul = (what: string) => (text: string, ctx: z.RefinementCtx) => {
  if (text.includes("\0")) ctx.addIssue({ code: "custom", message: `${what} must not contain a NUL byte` });
};

export const envMap = z
  .record(
    z.string().regex(/^[^=\0]+$/, "an environment variable's name has no '=' and no NUL byte"),
    z.string().superRefine(noNul("an environment variable's value")),
  )
  .meta({ description: "Environment variables, by name." });

const absolutePath = z
  .string()
  .max(4096)
  .regex(/^\/[^\0]*$/, "must be an absolute path in the sandbox");

const userName = z
  .string()
  .max(256)
  .regex(/^[^\0\n]*$/)
  .meta({
    description: "User of the image, as `name`, `uid`, `name:group` or `uid:gid`. Default: the image's.",
  });

export const argv = z.array(z.string().superRefine(noNul("an argument"))).max(4096);

export const sandboxSpec = z
  .strictObject({
    name: sandboxName.optional().meta({ description: "Unique name. Default: generated." }),
    image: z
      .string()
      .min(1)
      .max(512)
      .meta({ description: "Image that becomes the root, e.g. `msb/python`." }),
    pull: z
      .enum(PULL_POLICIES)
      .default("missing")
      .meta({ description: "When to fetch the image: `missing` if it is not here, `always`, or `never`." }),
    platform: platformName.optional().meta({
      description: "Which of the image's variants to fetch. Default: this host's, e.g. `linux/amd64`.",
    }),
    cpus: z.int().min(1).max(MAX_CPUS).default(DEFAULT_CPUS),
    memoryMiB: z.int().min(MIN_MEMORY_MIB).max(MAX_MEMORY_MIB).default(DEFAULT_MEMORY_MIB),
    diskMiB: z
      .int()
      .min(MIN_DISK_MIB)
      .max(MAX_DISK_MIB)
      .default(DEFAULT_DISK_MIB)
      .meta({ description: "Size of the writable layer in MiB." }),
    diskIops: z.int().min(MIN_DISK_IOPS).max(MAX_DISK_IOPS).optional().meta({
      description:
        "How many requests a second its disks serve, reads and writes of all together. Default: no limit.",
    }),
    diskBytesPerSecond: z
      .int()
      .min(MIN_DISK_BYTES_PER_SECOND)
      .max(MAX_DISK_BYTES_PER_SECOND)
      .optional()
      .meta({
        description:
          "How many bytes a second its disks serve, reads and writes of all together. Default: no limit.",
      }),
    env: envMap.default({}),
    workdir: absolutePath.optional().meta({ description: "Working directory. Default: the image's." }),
    user: userName.optional(),
    shell: absolutePath.default("/bin/sh").meta({ description: "Shell that `shell(script)` runs." }),
    entrypoint: argv.optional().meta({ description: "Replaces the image's entrypoint." }),
    command: argv.optional().meta({
      description: "Main process. When it ends, the sandbox stops. Default: none; the sandbox idles.",
    }),
    labels: z.record(z.string().max(128), z.string().max(1024)).default({}),
    mounts: mounts.default([]).meta({ description: "Volumes, folders of the host and tmpfs." }),
    network: networkSpec.prefault({}),
    files: inlineFiles.default([]).meta({
      description:
        "Small files that are put in place at the first start, before the first process and after the mounts.",
    }),
    maxDurationMs: z.int().min(1).max(MAX_LIFETIME_MS).optional().meta({
      description: "Stop the sandbox so many milliseconds after its start. Default: never.",
    }),
    idleTimeoutMs: z.int().min(1).max(MAX_LIFETIME_MS).optional().meta({
      description:
        "Stop the sandbox, pause or suspend it, when for so many milliseconds no process that a client started has run, nothing was read from it or written to it, and nobody has connected to its ports. Default: never.",
    }),
    onIdle: z.enum(ON_IDLE).default("stop").meta({
      description:
        "What is done with it then. One that is paused or suspended goes on by itself when it is used.",
    }),
    autoRemove: z.boolean().default(false).meta({ description: "Remove the sandbox when it stops." }),
  })
  .meta({ id: "SandboxSpec" });

/** A spec as users write it: defaults may be left out. */
export type SandboxSpecInput = z.input<typeof sandboxSpec>;
/** A spec with every default filled in. */
export type SandboxSpec = z.output<typeof sandboxSpec>;

/** A spec as a sandbox shows it: with the labels of its image, which have no bounds of their own. */
export const shownSpec = sandboxSpec
  .extend({
    labels: z
      .record(z.string(), z.string())
      .meta({ description: "The image's, and on top the sandbox's own." }),
    files: z.array(shownInlineFile).default([]).meta({ description: "Without what is in them." }),
  })
  .meta({ id: "ShownSandboxSpec" });
export type ShownSandboxSpec = z.output<typeof shownSpec>;

export const SANDBOX_STATES = [
  "creating",
  "running",
  "paused",
  "suspended",
  "stopping",
  "stopped",
  "failed",
  "removed",
] as const;
export type SandboxState = (typeof SANDBOX_STATES)[number];

/** Whether the guest's agent answers. */
export const SANDBOX_HEALTHS = ["responsive", "unresponsive"] as const;
export type SandboxHealth = (typeof SANDBOX_HEALTHS)[number];

/** A step of a start, with its place in time. */
export const span = z
  .object({
    name: z.string(),
    startMs: z.number().meta({ description: "Milliseconds since the request was taken." }),
    durationMs: z.number(),
  })
  .meta({ id: "Span" });
export type Span = z.output<typeof span>;

export const sandboxInfo = z
  .object({
    id: z.string(),
    name: z.string(),
    image: z.string(),
    imageDigest: z.string(),
    state: z.enum(SANDBOX_STATES),
    reason: z
      .string()
      .optional()
      .meta({ description: "Why it is in this state, when there is more to say." }),
    health: z.enum(SANDBOX_HEALTHS).optional().meta({
      description:
        "Whether its agent answers; while it runs. `unresponsive`: its kernel hangs, or the host stands still.",
    }),
    exitCode: z.int().optional().meta({ description: "Exit code of the main process, once it has ended." }),
    accelerator: z.string().optional(),
    createdAt: z.iso.datetime(),
    startedAt: z.iso.datetime().optional(),
    stoppedAt: z.iso.datetime().optional(),
    ports: z.array(publishedPort).optional().meta({
      description: "Published ports, with the numbers that the host gave; while it runs.",
    }),
    groupAddresses: z.array(z.string()).optional().meta({
      description: "Where the sandboxes of its group reach it; of a sandbox in a group.",
    }),
    spec: shownSpec,
    timings: z.array(span).meta({ description: "Steps of the last start." }),
  })
  .meta({ id: "Sandbox" });
export type SandboxInfo = z.output<typeof sandboxInfo>;
