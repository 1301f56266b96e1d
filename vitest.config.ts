import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { LongestFirst } from "./scripts/longest-first.ts";

// Workspace packages resolve to their sources, so tests need no build. `import` and `require` are not named: they are
// added where they belong, and one that is named would count in both.
const conditions = ["source", "node", "module", "default"];
const shared = { resolve: { conditions }, ssr: { resolve: { conditions, externalConditions: conditions } } };

// A wait ends with its event; its end is for what never comes, also on a machine that does much else.
const expectOptions = { poll: { timeout: 30_000 } };

const CORES = availableParallelism();
/** Tests wait for processes, sockets and clocks more than they compute: twice as many files as cores keep these busy. */
const UNIT_WORKERS = 2 * CORES;
/** Suites start a dozen processes each, so one more than cores is enough; a cluster that is there already takes one at a time. */
const SUITE_WORKERS = { local: Math.min(CORES + 1, 6), kind: Math.min(CORES, 4), existing: 1 };
const CLUSTER = process.env["E2E_CLUSTER"];
const suiteWorkers = CLUSTER === "kind" || CLUSTER === "existing" ? SUITE_WORKERS[CLUSTER] : SUITE_WORKERS.local;

/** Suites that measure: what they compare, or promise in seconds, others on the machine would change. */
const ALONE = ["offline", "relay-load", "transport-dead-links", "transport-streams"].map(
  (name) => `e2e/suites/**/${name}.e2e.test.ts`,
);

const suites = { expect: expectOptions, testTimeout: 600_000, hookTimeout: 1_800_000 };

export default defineConfig({
  ...shared,
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        ...shared,
        test: {
          name: "unit",
          expect: expectOptions,
          include: [
            "packages/*/test/**/*.test.ts",
            "apps/*/test/**/*.test.ts",
            "e2e/test/**/*.test.ts",
            "bench/test/**/*.test.ts",
          ],
          exclude: ["**/*.conformance.test.ts", "**/node_modules/**"],
          maxWorkers: UNIT_WORKERS,
          sequence: { groupOrder: 1 },
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      {
        ...shared,
        test: {
          name: "conformance",
          expect: expectOptions,
          include: ["packages/*/test/**/*.conformance.test.ts", "apps/*/test/**/*.conformance.test.ts"],
          maxWorkers: UNIT_WORKERS,
          sequence: { groupOrder: 1 },
          testTimeout: 600_000,
        },
      },
      {
        ...shared,
        test: {
          ...suites,
          name: "e2e",
          include: ["e2e/suites/**/*.e2e.test.ts"],
          exclude: ALONE,
          maxWorkers: suiteWorkers,
          sequence: { groupOrder: 2 },
        },
      },
      {
        ...shared,
        test: {
          ...suites,
          name: "node",
          include: ["e2e/suites/node/**/*.node.test.ts"],
          maxWorkers: suiteWorkers,
          sequence: { groupOrder: 2 },
        },
      },
      {
        ...shared,
        test: {
          ...suites,
          name: "e2e-alone",
          include: ALONE,
          maxWorkers: 1,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
