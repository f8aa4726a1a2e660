import type { Readable } from "node:stream";
import { SandboxError } from "../contract/errors.ts";
import { writeTo } from "./terminal.ts";

/** Writes a tar, or what it is called, to stdout, at its reader's pace. A terminal is no place for it. */
export async function tarToStdout(open: () => Promise<Readable>, what = "a tar"): Promise<void> {
  if (process.stdout.isTTY) {
    throw new SandboxError("invalid_argument", `${what} is not written to a terminal`, {
      hint: "give a file with -o, or send stdout somewhere",
    });
  }
  for await (const chunk of await open()) {
    const full = writeTo("stdout", chunk as Buffer);
    if (full) await full;
  }
}
