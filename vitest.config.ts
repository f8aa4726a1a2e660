import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["src/**/*.test.ts", "guest/boot/*.test.ts", "tools/*.test.ts"],
        },
      },
      {
        test: {
          name: "vm",
          include: ["test/**/*.test.ts"],
          // Each starts a daemon and VMs of its own; side by side they would only time each other out.
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
