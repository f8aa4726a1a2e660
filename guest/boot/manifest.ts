import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { KernelPackage } from "./kernel-package.ts";

export interface Manifest {
  version: 1;
  arch: "x64";
  /** Names the set: SHA-256 of the lines "name sha256", sorted. */
  hash: string;
  kernel: KernelPackage;
  /** Size of the file system on blank.ext4, whose file is shorter. */
  blankDiskBytes: number;
  files: Record<string, { sha256: string; size: number }>;
}

interface ManifestFacts {
  folder: string;
  names: string[];
  kernel: KernelPackage;
  blankDiskBytes: number;
}

export function makeManifest({ folder, names, kernel, blankDiskBytes }: ManifestFacts): Manifest {
  const files: Manifest["files"] = {};
  for (const name of names.toSorted()) {
    const content = readFileSync(join(folder, name));
    files[name] = { sha256: createHash("sha256").update(content).digest("hex"), size: content.length };
  }
  const lines = Object.entries(files).map(([name, file]) => `${name} ${file.sha256}\n`);
  const hash = createHash("sha256").update(lines.join("")).digest("hex");
  return { version: 1, arch: "x64", hash, kernel, blankDiskBytes, files };
}
