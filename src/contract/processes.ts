import { z } from "zod";
import { execSpec, exitStatus } from "./exec.ts";

/** Processes of a sandbox that somebody may come back to. */

/** Processes that have ended and are still told of, the newest ones. */
export const MAX_ENDED_PROCESSES = 128;

export const processStart = execSpec
  .extend({
    stdin: z
      .boolean()
      .default(false)
      .meta({ description: "Whether who attaches may write to it. Default: it reads nothing." }),
  })
  .meta({ id: "ProcessStart" });
export type ProcessStartInput = z.input<typeof processStart>;
export type ProcessStart = z.output<typeof processStart>;

export const PROCESS_STATES = ["running", "ended", "lost"] as const;

export const processInfo = z
  .object({
    process: z.int().meta({ description: "Number of the process within its sandbox." }),
    pid: z.int().meta({ description: "Its number in the guest; 0 while it is being started." }),
    argv: z.array(z.string()).meta({ description: "Its command; a long one is cut." }),
    tty: z.boolean(),
    main: z.boolean().meta({ description: "The sandbox stops when it ends." }),
    state: z.enum(PROCESS_STATES).meta({ description: "`lost`: its VM ended and took it along." }),
    startedAt: z.iso.datetime(),
    endedAt: z.iso.datetime().optional(),
    exit: exitStatus.optional().meta({ description: "How it ended." }),
  })
  .meta({ id: "Process" });
export type ProcessInfo = z.output<typeof processInfo>;

export const SIGNAL_SCOPES = ["process", "group", "tree"] as const;
export type SignalScope = (typeof SIGNAL_SCOPES)[number];

export const processSignal = z
  .strictObject({
    signal: z.string().max(16).meta({ description: "Name or number, e.g. `SIGTERM`, `TERM` or `15`." }),
    scope: z.enum(SIGNAL_SCOPES).default("group").meta({
      description: "The process alone, its process group, or all that descends from it.",
    }),
  })
  .meta({ id: "ProcessSignal" });
export type ProcessSignalInput = z.input<typeof processSignal>;

const offset = z.int().min(0);

/** From where on the output is wanted: bytes since the process's start, or only what comes. */
export const outputFrom = z.union([z.literal("now"), z.strictObject({ stdout: offset, stderr: offset })]);
export type OutputFrom = z.output<typeof outputFrom>;
