import { defineConfig } from "rolldown";

/**
 * One bundle of five programs (`network` and `memory`: threads of the daemon). What they share, and what a command loads only when it is used, goes into
 * files of its own, so that `msb` reads little before it runs.
 */
export default defineConfig({
  input: {
    cli: "src/cli/main.ts",
    daemon: "src/server/main.ts",
    network: "src/engine/network/worker/thread.ts",
    memory: "src/engine/machine/qemu/memory-program.ts",
    sdk: "src/sdk/index.ts",
  },
  platform: "node",
  // ws looks for these faster natives of its own; it does without.
  external: ["bufferutil", "utf-8-validate"],
  output: {
    dir: "dist",
    format: "esm",
    cleanDir: true,
    entryFileNames: "[name].js",
    chunkFileNames: "chunks/[name]-[hash].js",
    sourcemap: true,
  },
});
