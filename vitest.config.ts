import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["src/**/*.test.ts", "guest/boot/*.test.ts", "tools/*.test.ts"],
          // Limits end what hangs. Some tests start ten processes, one after the other, on a machine that others load.
          testTimeout: 30_000,
          hookTimeout: 30_000,
          expect: { poll: { timeout: 20_000 } },
        },
      },
      {
        test: {
          name: "vm",
          include: ["test/**/*.test.ts"],
          // Each starts a daemon and VMs of its own; side by side they would only time each other out.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
