import type { TestModule } from "vitest/node";

const SHOWN = 10;

/** Lines that name the files that took longest, with their seconds from the first hook to the last; none for one file. */
export function slowestFiles(modules: readonly TestModule[]): readonly string[] {
  if (modules.length < 2) return [];
  const seconds = (module: TestModule): number => module.diagnostic().duration / 1_000;
  return modules
    .toSorted((a, b) => seconds(b) - seconds(a))
    .slice(0, SHOWN)
    .map((module) => `${seconds(module).toFixed(1).padStart(7)} s  ${module.relativeModuleId}`);
}
