import { resolve } from "node:path";
import { type ClusterId, type ErrorCode, toConnectError, UPSTREAM_PROBE } from "@cluster-connect/protocol";
import { findClusters } from "../clusters/find.ts";
import { openKnownClusters } from "../clusters/known-clusters.ts";
import { writeBundle } from "../doctor/bundle.ts";
import { checkCluster } from "../doctor/cluster.ts";
import { checkIdle, type IdleChannel } from "../doctor/idle.ts";
import { checkNetwork } from "../doctor/network.ts";
import { type CheckResult, type CheckStatus, createReport, type Report } from "../doctor/report.ts";
import { checkSignIn } from "../doctor/sign-in.ts";
import { type Cluster, fetchClusters } from "../relay-api.ts";
import { connectRelay, type LinkEvent, type RelayLink } from "../relay-link.ts";
import { foldersOf } from "../settings/folders.ts";
import { chooseRelay, type RelayFlags } from "../settings/relay-choice.ts";
import { createStyle, type Style } from "../style.ts";
import type { CallerTokens } from "../tokens/caller-tokens.ts";
import { chooseTokens } from "../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../tokens/token-flags.ts";
import { VERSION } from "../version.ts";
import type { CommandContext } from "./context.ts";

export interface DoctorFlags extends RelayFlags, TokenFlags {
  readonly name?: readonly string[];
  readonly output: "text" | "json";
  /** How long the channel stays silent to see whether something cuts it; 0 leaves that out. */
  readonly idleSeconds: number;
  /** Where an archive for whoever helps goes. */
  readonly bundle?: string;
}

/**
 * Checks every hop as far as it can, and says which one fails and what to do. It needs no access of its own.
 *
 * @returns 0, or the exit code of the first failure.
 */
export async function doctor(flags: DoctorFlags, { deps, signal }: CommandContext): Promise<number> {
  const style = createStyle(deps.stdout, deps.env);
  const isText = flags.output === "text";
  const report = createReport({ signal }, (result) => {
    if (isText) deps.stdout.write(formatResult(result, style));
  });
  const end = new AbortController();
  try {
    await examine(flags, report, { deps, signal: AbortSignal.any([signal, end.signal]) });
  } finally {
    end.abort();
  }
  const facts = { version: VERSION, node: process.versions.node, platform: `${process.platform}-${process.arch}` };
  const json = `${JSON.stringify({ ...facts, checks: report.results }, undefined, 2)}\n`;
  if (!isText) deps.stdout.write(json);
  if (flags.bundle !== undefined) {
    const path = resolve(flags.bundle);
    const names = await writeBundle(path, json, deps);
    deps.stderr.write(`Wrote ${path}: ${names.join(", ")}. Secrets are taken out; look before you send it.\n`);
  }
  return report.exitCode();
}

async function examine(
  flags: DoctorFlags,
  report: Report,
  context: Pick<CommandContext, "deps" | "signal">,
): Promise<void> {
  const { deps, signal } = context;
  const relay = await chooseRelay(flags, deps);
  const info = await checkNetwork(relay.url, report, { signal, expectsOwnAuthority: relay.caFile !== undefined }, deps);
  const tokens = chooseTokens(relay.url, await findGivenTokens(flags, deps), deps);
  const found = await checkSignIn(tokens, info, report, { signal });
  const { relay: token } = found;
  if (info === undefined || token === undefined) {
    report.skip("grants", info === undefined ? "the relay does not answer" : "there is no token for the relay");
    return;
  }
  const offered = await report.check("grants", async () => {
    const clusters = await fetchClusters(relay.url, token, { signal }, deps);
    const ids = clusters.map(({ id }) => id).join(", ");
    if (clusters.length > 0) return { value: clusters, detail: `you may reach ${ids}` };
    return {
      value: clusters,
      detail: "you may reach no cluster",
      warning: "Ask the relay's administrator for a grant.",
    };
  });
  if (offered !== undefined) await examineClusters(flags, offered, relay.url, found.cluster, tokens, report, context);
}

async function examineClusters(
  flags: DoctorFlags,
  offered: readonly Cluster[],
  relay: URL,
  token: string | undefined,
  tokens: CallerTokens,
  report: Report,
  { deps, signal }: Pick<CommandContext, "deps" | "signal">,
): Promise<void> {
  const wanted: readonly (string | ClusterId)[] = flags.name ?? offered.map(({ id }) => id);
  if (wanted.length === 0) return;
  const end = new AbortController();
  const lost = new AbortController();
  let losses = 0;
  const onEvent = ({ kind }: LinkEvent): void => {
    if (kind !== "lost") return;
    losses += 1;
    lost.abort();
  };
  const link = connectRelay({ relay, signal: AbortSignal.any([signal, end.signal]), onEvent }, { ...deps, tokens });
  const idle: IdleChannel = {
    get losses() {
      return losses;
    },
    lost: lost.signal,
    ask: async (options) => {
      const [asked] = offered;
      if (asked !== undefined) await askAgent(link, asked.id, options);
    },
  };
  try {
    await examineThrough(wanted, { offered, relay, token, link, idle }, flags, report, { deps, signal });
  } finally {
    end.abort();
    await link.closed;
  }
}

interface Examined {
  readonly offered: readonly Cluster[];
  readonly relay: URL;
  readonly token: string | undefined;
  readonly link: RelayLink;
  readonly idle: IdleChannel;
}

async function examineThrough(
  wanted: readonly (string | ClusterId)[],
  { offered, relay, token, link, idle }: Examined,
  flags: DoctorFlags,
  report: Report,
  { deps, signal }: Pick<CommandContext, "deps" | "signal">,
): Promise<void> {
  const isOpen = await report.check("channel", async () => {
    const startedAt = performance.now();
    await link.ready;
    return { value: true, detail: `a WebSocket opened in ${Math.round(performance.now() - startedAt)} ms` };
  });
  if (isOpen === undefined) return;
  const known = openKnownClusters(foldersOf(deps));
  for (const name of wanted) {
    const cluster = await report.check(`${name}: grant`, async () => {
      const [value] = findClusters([name], offered, relay.origin);
      return { value, detail: "you may open streams to it" };
    });
    if (cluster === undefined) continue;
    await checkCluster({ relay: relay.origin, cluster, token, link, known, now: deps.now() }, report, { signal });
  }
  if (flags.idleSeconds === 0 || offered.length === 0) report.skip("idle channel", "left out");
  else {
    const idleMs = flags.idleSeconds * 1_000;
    await report.check("idle channel", async () => await checkIdle(idle, idleMs, { signal }, deps));
  }
}

/** What is not an answer of relay or agent. */
const UNANSWERED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "CC_TIMEOUT",
  "CC_CHANNEL_LOST",
  "CC_KEEPALIVE_TIMEOUT",
]);

/** A refusal is an answer, too: the channel carried it. */
async function askAgent(link: RelayLink, cluster: ClusterId, options: { readonly signal: AbortSignal }): Promise<void> {
  try {
    const stream = await link.open(cluster, { ...options, upstream: UPSTREAM_PROBE });
    await stream.accepted;
    stream.destroy();
  } catch (error) {
    if (options.signal.aborted || UNANSWERED.has(toConnectError(error).code)) throw error;
  }
}

const MARKS: Readonly<Record<CheckStatus, string>> = { ok: "ok", warning: "warn", failed: "FAIL", skipped: "skip" };

function formatResult({ check, status, detail, hint }: CheckResult, style: Style): string {
  const mark = MARKS[status].padEnd(4);
  const colour = { ok: style.good, warning: style.strong, failed: style.bad, skipped: style.faint }[status];
  const line = `${colour(mark)}  ${check.padEnd(23)}  ${detail}\n`;
  return hint === null ? line : `${line}${" ".repeat(31)}${hint}\n`;
}
