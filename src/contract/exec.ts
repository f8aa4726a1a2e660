import { z } from "zod";
import { argv, envMap } from "./sandbox.ts";

/** A process to start in a sandbox, and what is told of it. */

/** Largest stdout or stderr that a collected exec returns; the rest is counted and left in the log. */
export const MAX_COLLECTED_BYTES = 16 * 1024 * 1024;

export const RLIMITS = [
  "as",
  "core",
  "cpu",
  "data",
  "fsize",
  "locks",
  "memlock",
  "msgqueue",
  "nice",
  "nofile",
  "nproc",
  "rss",
  "rtprio",
  "rttime",
  "sigpending",
  "stack",
] as const;

export const execSpec = z
  .strictObject({
    argv: argv.min(1, "a command has at least a name"),
    env: envMap.default({}).meta({ description: "Added to the sandbox's environment." }),
    workdir: z
      .string()
      .max(4096)
      .regex(/^\/[^\0]*$/, "must be an absolute path in the sandbox")
      .optional(),
    user: z
      .string()
      .max(256)
      .regex(/^[^\0\n]*$/)
      .optional(),
    timeoutMs: z
      .int()
      .min(1)
      .max(2 ** 31 - 1)
      .optional()
      .meta({
        description:
          "TERM to the process group after this many milliseconds, KILL to all its descendants two seconds later.",
      }),
    rlimits: z
      .partialRecord(z.enum(RLIMITS), z.object({ soft: z.int().min(0), hard: z.int().min(0) }))
      .optional(),
  })
  .meta({ id: "ExecSpec" });
export type ExecSpecInput = z.input<typeof execSpec>;
export type ExecSpec = z.output<typeof execSpec>;

/** How a process ended: by exit code, or by a signal (then `exitCode` is 128 + its number, as shells have it). */
export const exitStatus = z
  .object({
    exitCode: z.int(),
    signal: z.string().optional().meta({ description: "Name of the signal that ended it, e.g. `SIGKILL`." }),
    timedOut: z.boolean().optional(),
    outOfMemory: z.boolean().optional().meta({
      description: "The sandbox's kernel killed it, when processes had used up the sandbox's memory.",
    }),
  })
  .meta({ id: "ExitStatus" });
export type ExitStatus = z.output<typeof exitStatus>;

export const execRequest = execSpec
  .extend({
    stdin: z.string().optional().meta({ description: "All of stdin, as text." }),
    stdinBase64: z
      .base64()
      .optional()
      .meta({ description: "All of stdin, as base64; for bytes that are no text." }),
  })
  .meta({ id: "ExecRequest" });
export type ExecRequest = z.input<typeof execRequest>;

export const execResult = exitStatus
  .extend({
    stdoutBase64: z.string(),
    stderrBase64: z.string(),
    stdoutDropped: z.int().meta({ description: "Bytes beyond 16 MiB that were not collected." }),
    stderrDropped: z.int(),
    durationMs: z.number(),
  })
  .meta({ id: "ExecResult" });
export type ExecResultBody = z.output<typeof execResult>;
