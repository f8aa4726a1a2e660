import { fileURLToPath } from "node:url";
import { runDaemon } from "../program.ts";
import { openLocalEngine } from "./local-engine.ts";

/** The daemon's program with the local engine; tests have it started through `MSB_DAEMON`. */

await runDaemon(fileURLToPath(import.meta.url), async ({ home }) => openLocalEngine(home));
