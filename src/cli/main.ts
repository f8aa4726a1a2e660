#!/usr/bin/env node
import { existsSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { join } from "node:path";
import { homeDirectory } from "../contract/home.ts";

/** The `msb` program. */

// The cache is kept in our own folder: Node's default is in a folder of /tmp that others could have made first.
const home = homeDirectory();
if (existsSync(home)) enableCompileCache(join(home, "cache", "node"));
const { main } = await import("./program.ts");
await main(process.argv.slice(2));
