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
  /** Values of our own; what the person gives wins. */
  readonly values: Readonly<Record<string, unknown>>;
  readonly valueFiles: readonly string[];
  readonly sets: readonly string[];
  readonly signal: AbortSignal;
}

const LOOK_EVERY_MS = 1_000;
const JOB = z.object({ items: z.array(z.object({ status: z.object({ failed: z.number().optional() }).optional() })) });
const ENROLLMENT = "app.kubernetes.io/component=enrollment";

/**
 * Installs or upgrades the release and waits for its pods; ends early when the enrollment fails.
 *
 * @returns helm's last word, or what a dry run has shown.
 * @throws ConnectError `CC_INSTALL_FAILED` with what the enrollment or helm said.
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
    failWithEnrollment(namespace, watch, tools).catch((error: unknown) => failed.abort(error));
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

/** Rejects when the enrollment Job has failed, with the line of its log that says why. */
async function failWithEnrollment(namespace: string, signal: AbortSignal, tools: ClusterTools): Promise<never> {
  const select = ["--namespace", namespace, "--selector", `app.kubernetes.io/instance=${RELEASE},${ENROLLMENT}`];
  const known = await failures(select, tools);
  for (;;) {
    await pause(signal);
    if ((await failures(select, tools)) <= known) continue;
    const logs = await tools.kubectl(["logs", ...select, "--container", "enroll", "--tail", "20"]);
    const line = logs.stdout.split("\n").find((text) => text.startsWith("error:")) ?? lastLine(logs);
    throw new ConnectError("CC_INSTALL_FAILED", `The enrollment failed: ${line.replace(/^error: /, "")}`, {
      hint: "Make another code with `cluster-connect admin codes create`, then run `cluster-connect connect` again.",
    });
  }
}

async function failures(select: readonly string[], tools: ClusterTools): Promise<number> {
  const jobs = await tools.kubectl(["get", "jobs", ...select, "--output", "json"]);
  try {
    const { items } = JOB.parse(JSON.parse(jobs.stdout));
    return items.reduce((sum, { status }) => sum + (status?.failed ?? 0), 0);
  } catch {
    return 0;
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  const { setTimeout: delay } = await import("node:timers/promises");
  await delay(LOOK_EVERY_MS, undefined, { signal });
}

const AUTHENTICATION = z.object({ jwt: z.array(z.record(z.string(), z.unknown())) });

/**
 * Whose tokens the cluster believes, from a file with Kubernetes' AuthenticationConfiguration.
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
 * Looks before a code is made whether a first installation says whose tokens are believed: the chart lets nobody in else.
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
