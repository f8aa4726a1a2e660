import { createHash } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** One hash over the files of some folders and further facts: equal means that a build may be skipped. */
export function hashInputs(folders: string[], facts: string[]): string {
  const hash = createHash("sha256");
  for (const folder of folders) {
    const files = globSync("**/*", { cwd: folder, withFileTypes: true }).filter(
      // Neither tests nor explanations change what is built.
      (entry) => entry.isFile() && !/(\.test\.ts|_test\.go|\.md)$/.test(entry.name),
    );
    for (const path of files.map((entry) => join(entry.parentPath, entry.name)).sort()) {
      const content = readFileSync(path);
      hash.update(`${path.slice(folder.length)} ${content.length}\n`).update(content);
    }
  }
  for (const fact of facts) hash.update(`${fact}\n`);
  return hash.digest("hex");
}
