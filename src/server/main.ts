import { enableCompileCache } from "node:module";
import { fileURLToPath } from "node:url";

/** The daemon's program. */

enableCompileCache();
const { runDaemon } = await import("./program.ts");
await runDaemon(fileURLToPath(import.meta.url), async (options) => {
  const { openEngine } = await import("../engine/index.ts");
  return openEngine(options);
});
