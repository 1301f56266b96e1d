/**
 * Suites of others against a cluster, directly and through: `main.ts --direct KUBECONFIG --through KUBECONFIG [--all]`.
 * The code is 1 when something came out otherwise.
 */
import { parseArgs } from "node:util";
import { findTools } from "../cluster/binaries/tools.ts";
import { startKeeper } from "../process/keeper.ts";
import { createProgress } from "../process/progress.ts";
import { compareSuites, renderComparison } from "./compare.ts";
import { ALL_GROUPS, SHORT_GROUPS, upstreamSuites } from "./suites.ts";

const { values } = parseArgs({
  options: { direct: { type: "string" }, through: { type: "string" }, all: { type: "boolean", default: false } },
});
const { direct, through, all } = values;
if (direct === undefined || through === undefined) {
  process.stderr.write("Usage: pnpm upstream --direct KUBECONFIG --through KUBECONFIG [--all]\n");
  process.exit(2);
}
await using keeper = await startKeeper();
const { env, platform, arch } = process;
const progress = createProgress(process.stderr, { now: () => performance.now() });
const { signal } = new AbortController();
const tools = await findTools({ signal }, { env, platform, arch, progress });
const suites = upstreamSuites(all ? ALL_GROUPS : SHORT_GROUPS, { tools, keeper, progress, env, signal });
const found = await compareSuites(suites, { direct, through });
process.stdout.write(`${renderComparison(found)}\n`);
process.exitCode = found.differences.length === 0 ? 0 : 1;
