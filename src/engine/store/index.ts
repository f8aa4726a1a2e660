/**
 * What is on disk: the layout of `$MSB_HOME`, the SQLite database and its schema. It owns no meaning: a record is what the
 * room that hands it in says it is.
 */
export { type BootAssets, installBootAssets, sweepBootAssets, verifyBootAssets } from "./boot-assets.ts";
export { openDatabase } from "./database.ts";
export { EventLog, type NewEvent } from "./event-log.ts";
export { makeHome, type Paths, pathsOf } from "./paths.ts";
export { type PoolRow, PoolTable } from "./pool-table.ts";
export { type SandboxRow, SandboxTable } from "./records.ts";
