import { z } from "zod";
import { SANDBOX_HEALTHS } from "./sandbox.ts";

/** What a sandbox uses, as its own kernel counts it and as its host does. */

const bytes = z.int().min(0);

const stall = z
  .object({
    avg10Percent: z.number().min(0).max(100).meta({ description: "Share of the last ten seconds." }),
    totalMs: z.number().min(0).meta({ description: "In all; only differences mean something." }),
  })
  .meta({ id: "Stall" });

const pressure = z
  .object({
    some: stall.meta({ description: "Something that could run waited." }),
    full: stall.meta({ description: "Everything that could run waited." }),
  })
  .meta({ id: "Pressure", description: "The kernel's pressure stall information." });

export const sandboxMetrics = z
  .object({
    sandbox: z.string().meta({ description: "Id of the sandbox." }),
    name: z.string(),
    time: z.iso.datetime(),
    uptimeMs: z.number().min(0).meta({ description: "Since its start." }),
    cpus: z.int(),
    health: z.enum(SANDBOX_HEALTHS),
    guest: z
      .object({
        cpuMs: z.number().min(0).meta({
          description:
            "How long its CPUs were busy, added up; counts from before its start, only differences mean something.",
        }),
        processes: z.int().min(0).meta({ description: "User processes, with their threads." }),
        memory: z.object({
          totalBytes: bytes,
          usedBytes: bytes,
          cacheBytes: bytes.meta({ description: "Of files; given back when it is needed." }),
          availableBytes: bytes,
        }),
        disk: z
          .object({ totalBytes: bytes, usedBytes: bytes, availableBytes: bytes })
          .meta({ description: "The file system that takes what it writes." }),
        volumes: z
          .array(
            z.object({
              name: z.string(),
              target: z.string().meta({ description: "Where it is mounted." }),
              totalBytes: bytes,
              usedBytes: bytes,
              availableBytes: bytes,
            }),
          )
          .meta({ description: "The volumes that it may write to." }),
        network: z.object({ receivedBytes: bytes, sentBytes: bytes }),
        pressure: z.object({ cpu: pressure, memory: pressure, io: pressure }),
      })
      .optional()
      .meta({ description: "What the sandbox's own kernel says. Missing when it does not answer." }),
    host: z
      .object({
        cpuMs: z.number().min(0).meta({ description: "CPU time of its VM." }),
        residentBytes: bytes.meta({ description: "With what it shares with other sandboxes." }),
        privateBytes: bytes.meta({ description: "Memory that is its own." }),
        diskReadBytes: bytes,
        diskWrittenBytes: bytes,
      })
      .meta({ description: "What it costs the host." }),
  })
  .meta({ id: "SandboxMetrics" });
export type SandboxMetrics = z.output<typeof sandboxMetrics>;
