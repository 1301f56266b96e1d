import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

// Workspace packages resolve to their sources, so tests need no build. `import` and `require` are not named: they are
// added where they belong, and one that is named would count in both.
const conditions = ["source", "node", "module", "default"];
const shared = { resolve: { conditions }, ssr: { resolve: { conditions, externalConditions: conditions } } };

export default defineConfig({
  ...shared,
  test: {
    projects: [
      {
        ...shared,
        test: {
          name: "unit",
          include: ["packages/*/test/**/*.test.ts", "apps/*/test/**/*.test.ts", "e2e/test/**/*.test.ts"],
          exclude: ["**/*.conformance.test.ts", "**/node_modules/**"],
          // Half of the time of these is spent waiting for processes and sockets.
          maxWorkers: Math.max(2, availableParallelism() - 1),
          sequence: { groupOrder: 1 },
          testTimeout: 60_000,
        },
      },
      {
        ...shared,
        test: {
          name: "conformance",
          include: ["packages/*/test/**/*.conformance.test.ts", "apps/*/test/**/*.conformance.test.ts"],
          testTimeout: 600_000,
        },
      },
      {
        ...shared,
        test: {
          name: "e2e",
          include: ["e2e/suites/**/*.e2e.test.ts"],
          testTimeout: 600_000,
          hookTimeout: 1_800_000,
          fileParallelism: false,
        },
      },
      {
        ...shared,
        test: {
          name: "node",
          include: ["e2e/suites/node/**/*.node.test.ts"],
          testTimeout: 600_000,
          hookTimeout: 1_800_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
