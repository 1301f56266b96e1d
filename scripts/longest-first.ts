import { basename } from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Files that take minutes, the longest first; see the table in e2e/README.md. */
const LONGEST: readonly string[] = [
  "chart-credentials.node",
  "chart-lifecycle.node",
  "chart.node",
  "transport.e2e",
  "cli-resume.e2e",
  "relays-failover.e2e",
  "relays-revocation.e2e",
  "relays-clis.e2e",
  "demo.e2e",
  "chart-connect.node",
  "relay-chart.node",
];

const rank = ({ moduleId }: TestSpecification): number => {
  const place = LONGEST.indexOf(basename(moduleId, ".test.ts"));
  return place === -1 ? LONGEST.length : place;
};

/** Starts the longest files of a group first, so that none of them runs on alone at the end. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const group = ({ project }: TestSpecification): number => project.config.sequence.groupOrder;
    return sorted.toSorted((a, b) => group(a) - group(b) || rank(a) - rank(b));
  }
}
