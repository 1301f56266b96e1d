import { ConnectError } from "@cluster-connect/protocol";
import { parse } from "yaml";
import { z } from "zod";
import { readTextFile } from "../files/text-file.ts";
import { RELEASE } from "./installation.ts";
import { type ClusterTools, lastLine, type ToolResult } from "./tool.ts";

export interface InstallOptions {
  readonly chart: string;
  readonly namespace: string;
  readonly timeoutSeconds: number;
  readonly dryRun: boolean;
  /** Values of our own; the person's values win. */
  readonly values: Readonly<Record<string, unknown>>;
  readonly valueFiles: readonly string[];
  readonly sets: readonly string[];
  readonly signal: AbortSignal;
}

const POLL_MS = 1_000;
const JOBS = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string(), uid: z.string() }),
      status: z.object({ failed: z.number().optional() }).optional(),
    }),
  ),
});
type Job = Readonly<z.infer<typeof JOBS>["items"][number]>;
const ENROLLMENT = "app.kubernetes.io/component=enrollment";

/**
 * Installs or upgrades the release and waits for its pods; ends early when the enrollment fails.
 *
 * @returns helm's last word, or what a dry run has shown.
 * @throws ConnectError `CC_INSTALL_FAILED` with the message of the enrollment or of helm.
 */
export async function install(options: InstallOptions, tools: ClusterTools): Promise<string> {
  const { chart, namespace, timeoutSeconds, dryRun } = options;
  const files = options.valueFiles.flatMap((file) => ["--values", file]);
  const sets = options.sets.flatMap((set) => ["--set", set]);
  const args = [
    ...["upgrade", "--install", RELEASE, chart, "--namespace", namespace, "--reset-then-reuse-values"],
    ...["--values", "-", ...files, ...sets],
    ...(dryRun ? ["--dry-run=server"] : ["--create-namespace", "--wait", "--timeout", `${timeoutSeconds}s`]),
  ];
  const stop = new AbortController();
  const failed = new AbortController();
  if (!dryRun) {
    const watch = AbortSignal.any([options.signal, stop.signal]);
    const select = ["--namespace", namespace, "--selector", `app.kubernetes.io/instance=${RELEASE},${ENROLLMENT}`];
    // A Job of another code may fail once more while helm replaces it: only those that helm makes now count.
    const former = new Set((await enrollments(select, tools)).map(({ metadata }) => metadata.uid));
    failWithEnrollment(former, select, watch, tools).catch((error: unknown) => failed.abort(error));
  }
  try {
    const done = await tools.helm(args, JSON.stringify(options.values), failed.signal);
    if (done.code === 0 && dryRun) return "the cluster would take every object; nothing was changed";
    if (done.code === 0) return lastLine({ stdout: done.stdout.split("NOTES:")[0] ?? "", stderr: "" });
    throw helmFailed(done, namespace);
  } finally {
    stop.abort();
  }
}

function helmFailed(done: ToolResult, namespace: string): ConnectError {
  const busy = done.stderr.includes("another operation");
  const hint = `If nobody else is at it, a helm was killed: \`helm rollback ${RELEASE} --namespace ${namespace}\`, then again.`;
  return new ConnectError("CC_INSTALL_FAILED", `helm: ${lastLine(done)}`, busy ? { hint } : {});
}

/** Rejects when an enrollment Job that was not there before has failed, with the line of its log that says why. */
async function failWithEnrollment(
  former: ReadonlySet<string>,
  select: readonly string[],
  signal: AbortSignal,
  tools: ClusterTools,
): Promise<never> {
  for (;;) {
    await pause(signal);
    const jobs = await enrollments(select, tools);
    const job = jobs.find(({ metadata, status }) => !former.has(metadata.uid) && (status?.failed ?? 0) > 0);
    if (job === undefined) continue;
    const line = await reasonOfFailure(job, select.slice(0, 2), tools);
    throw new ConnectError("CC_INSTALL_FAILED", `The enrollment failed: ${line.replace(/^error: /, "")}`, {
      hint: "Make another code with `cluster-connect admin codes create`, then run `cluster-connect connect` again.",
    });
  }
}

/** The Job tries again beside the pod that has failed: only the failed one has the reason. */
async function reasonOfFailure(
  { metadata: { name } }: Job,
  inNamespace: readonly string[],
  tools: ClusterTools,
): Promise<string> {
  const failed = ["--field-selector", "status.phase=Failed", "--sort-by", "metadata.creationTimestamp"];
  const select = [...inNamespace, "--selector", `batch.kubernetes.io/job-name=${name}`];
  const pods = await tools.kubectl(["get", "pods", ...select, ...failed, "--output", "name"]);
  const pod = pods.stdout.trim().split("\n").at(-1);
  if (!pod) return pods.code === 0 ? "its pod is gone, `kubectl describe job` says why" : lastLine(pods);
  const logs = await tools.kubectl(["logs", pod, ...inNamespace, "--container", "enroll", "--tail", "20"]);
  return logs.stdout.split("\n").find((text) => text.startsWith("error:")) ?? lastLine(logs);
}

/** The enrollment Jobs that are there; none where they cannot be read, as before the namespace is made. */
async function enrollments(select: readonly string[], tools: ClusterTools): Promise<readonly Job[]> {
  const jobs = await tools.kubectl(["get", "jobs", ...select, "--output", "json"]);
  try {
    return JOBS.parse(JSON.parse(jobs.stdout)).items;
  } catch {
    return [];
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  const { setTimeout: delay } = await import("node:timers/promises");
  await delay(POLL_MS, undefined, { signal });
}

const AUTHENTICATION = z.object({ jwt: z.array(z.record(z.string(), z.unknown())) });

/**
 * The issuers that the cluster believes, from a file with Kubernetes' AuthenticationConfiguration.
 *
 * @throws ConnectError `CC_CONFIG_INVALID` when it is none.
 */
export async function readAuthentication(file: string): Promise<readonly unknown[]> {
  const parsed = AUTHENTICATION.safeParse(parse(await readTextFile(file)));
  if (parsed.success) return parsed.data.jwt;
  throw new ConnectError("CC_CONFIG_INVALID", `${file} is no AuthenticationConfiguration: it has no list jwt`, {
    hint: "`cluster-connect issuers` writes one.",
  });
}

/**
 * Requires, before a code is made, that a first installation names the issuers to believe. The chart lets no one else
 * in.
 *
 * @throws ConnectError `CC_USAGE` when neither the file nor values of the person's own can say it.
 */
export function requireAuthentication(flags: {
  readonly authentication?: string;
  readonly values?: readonly string[];
  readonly set?: readonly string[];
}): void {
  if ([flags.authentication, flags.values, flags.set].some((given) => given !== undefined)) return;
  throw new ConnectError("CC_USAGE", "Nothing is installed, and nothing says whose tokens are believed", {
    hint: "Give --authentication FILE; `cluster-connect issuers` writes one.",
  });
}

/** The code that a flag or a file gives. @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE`. */
export async function readCode(flags: {
  readonly code?: string;
  readonly codeFile?: string;
}): Promise<string | undefined> {
  if (flags.codeFile !== undefined) return (await readTextFile(flags.codeFile)).trim();
  return flags.code;
}
