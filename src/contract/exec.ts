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

/** Between TERM and KILL when a process has run out of its time. */
export const DEFAULT_KILL_AFTER_MS = 2_000;

/** Most rows and columns of a terminal. */
export const MAX_TERMINAL_SIZE = 4096;
export const terminalRows = z.int().min(1).max(MAX_TERMINAL_SIZE);
export const terminalCols = z.int().min(1).max(MAX_TERMINAL_SIZE);

/** What a process has in place of pipes: stdin, stdout and stderr are one terminal, whose output is stdout. */
export const terminal = z
  .strictObject({
    rows: terminalRows.default(24),
    cols: terminalCols.default(80),
    term: z
      .string()
      .max(128)
      .regex(/^[\x21-\x7e]*$/, "has letters, digits and signs")
      .optional()
      .meta({
        description: "What it understands, for `TERM`, e.g. `xterm-256color`. Default: `xterm`.",
      }),
  })
  .meta({ id: "Terminal", description: "A terminal in place of pipes. What it shows comes as stdout." });
export type TerminalInput = z.input<typeof terminal>;

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
          "TERM to the process group after this many milliseconds, KILL to all its descendants `killAfterMs` later.",
      }),
    killAfterMs: z.int().min(0).max(600_000).optional().meta({
      description: "What a process that was told to end has to do so, in milliseconds. Default: 2000.",
    }),
    tty: terminal.optional(),
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
    stopReason: z.string().optional().meta({
      description:
        "Why the sandbox was being stopped when it ended, if it was stopped by a limit, e.g. `it was idle for 300 s`.",
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
