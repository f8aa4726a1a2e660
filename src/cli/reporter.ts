import type { Progress } from "../sdk/index.ts";
import { ProgressDisplay } from "./progress.ts";
import { print } from "./terminal.ts";

export interface ReportFlags {
  quiet?: boolean;
  json?: boolean;
}

/** Who hears of the progress of a command that moves images: a person, a program, or nobody. */
export interface Reporter extends Disposable {
  readonly update: (progress: Progress) => void;
  /** Ends it; as JSON, with the result. */
  done(result: unknown): void;
}

export function reporterOf({ quiet = false, json = false }: ReportFlags): Reporter {
  if (json) return jsonReporter();
  if (quiet) return { update() {}, done() {}, [Symbol.dispose]() {} };
  return new ProgressDisplay({ patienceMs: process.stderr.isTTY ? 200 : 0 });
}

/** One event per line, in the form that the API has. Errors go to stderr, as everywhere. */
export function jsonReporter(): Reporter {
  return {
    update: (progress) => print(JSON.stringify({ type: "progress", progress })),
    done: (result) => print(JSON.stringify({ type: "result", result })),
    [Symbol.dispose]() {},
  };
}
