/**
 * Writes the test vectors of the agent protocol: `node spec/vectors/generate.ts`.
 *
 * This file shares no code with either end. It builds every byte from the text of ../agent-protocol.md, so a
 * mistake in an implementation cannot hide in its own vectors. The bounds that take megabytes to reach (a full
 * payload, 65,536 CBOR items, 8 MiB of stale bytes) are left to the unit tests of each end.
 */

import { writeFileSync } from "node:fs";
import { controlVectors, invalidControlVectors } from "./generate-control.ts";
import { frameVectors } from "./generate-frames.ts";
import { syncVectors } from "./generate-sync.ts";

/** One line per vector, so that a diff of the files shows which vectors changed. */
function lines(vectors: readonly unknown[]): string {
  return `[\n${vectors.map((vector) => JSON.stringify(vector)).join(",\n")}\n]\n`;
}

/** The files of this folder by name, as they are committed. */
export function vectorFiles(): Record<string, string> {
  return {
    "frames.json": lines(frameVectors()),
    "control.json": lines(controlVectors()),
    "control-invalid.json": lines(invalidControlVectors()),
    "sync.json": lines(syncVectors()),
  };
}

if (import.meta.main) {
  for (const [name, text] of Object.entries(vectorFiles())) {
    writeFileSync(new URL(name, import.meta.url), text);
  }
}
