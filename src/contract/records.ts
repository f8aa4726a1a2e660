import { z } from "zod";
import { span } from "./sandbox.ts";
import { VOLUME_SLOTS } from "./volumes.ts";

/** What the daemon tells of itself and of what it keeps: events, logs, templates, checks of the host. */

export const event = z
  .object({
    seq: z.int(),
    time: z.iso.datetime(),
    type: z.string().meta({ description: "E.g. `sandbox.running`, `template.quarantined`." }),
    sandbox: z.string().optional().meta({ description: "Id of the sandbox it is about." }),
    message: z.string().optional(),
    data: z.record(z.string(), z.unknown()).optional(),
  })
  .meta({ id: "Event" });
export type Event = z.output<typeof event>;

export const LOG_STREAMS = ["stdout", "stderr", "system"] as const;

export const logRecord = z
  .object({
    time: z.iso.datetime(),
    process: z.int().meta({ description: "Number of the process within its sandbox." }),
    stream: z.enum(LOG_STREAMS),
    offset: z.int().optional().meta({ description: "Offset of the first byte in the process's stream." }),
    text: z.string().optional(),
    base64: z.string().optional().meta({ description: "In place of `text` where the bytes are not UTF-8." }),
  })
  .meta({ id: "LogRecord" });
export type LogRecord = z.output<typeof logRecord>;

export const templateShape = z
  .strictObject({
    cpus: z.int().min(1),
    memoryMiB: z.int().min(1),
    volumeSlots: z
      .literal(VOLUME_SLOTS)
      .default(0)
      .meta({ description: "Disks that volumes may be attached to." }),
    network: z.boolean().default(true).meta({ description: "Whether it has a network interface." }),
  })
  .meta({ id: "TemplateShape" });
export type TemplateShape = z.output<typeof templateShape>;
export type TemplateShapeInput = z.input<typeof templateShape>;

export const templateInfo = z
  .object({
    key: z.string(),
    shape: templateShape,
    accelerator: z.string(),
    qemuVersion: z.string(),
    createdAt: z.iso.datetime(),
    memoryBytes: z.int().meta({ description: "Space that the stored memory takes on disk." }),
    stateBytes: z.int(),
    buildMs: z.number(),
    usable: z.boolean().meta({ description: "Whether this host's present QEMU and assets would load it." }),
  })
  .meta({ id: "Template" });
export type TemplateInfo = z.output<typeof templateInfo>;

export const check = z
  .object({
    name: z.string(),
    status: z.enum(["ok", "warning", "failed"]),
    message: z.string(),
    remedy: z.string().optional().meta({ description: "The exact command or setting that mends it." }),
  })
  .meta({ id: "Check" });
export type Check = z.output<typeof check>;

export const versionInfo = z
  .object({
    version: z.string(),
    api: z.string(),
    node: z.string(),
    qemu: z.string().optional(),
    assets: z.string().optional(),
  })
  .meta({ id: "Version" });
export type VersionInfo = z.output<typeof versionInfo>;

export const healthInfo = z
  .object({
    status: z.literal("ok"),
    pid: z.int(),
    home: z.string(),
    startedAt: z.iso.datetime(),
    sandboxes: z.int().meta({ description: "Sandboxes that run." }),
    build: z.string().meta({
      description: "Identifies the daemon's code: a client of another build restarts an idle daemon.",
    }),
  })
  .meta({ id: "Health" });
export type HealthInfo = z.output<typeof healthInfo>;

export const timings = z.array(span);
