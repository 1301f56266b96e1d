import { resolve } from "node:path";
import type { LoginSettings } from "@cluster-connect/api";
import {
  type ClusterId,
  type ErrorCode,
  parseClusterId,
  toConnectError,
  UPSTREAM_PROBE,
} from "@cluster-connect/protocol";
import { findClusters } from "../../cluster/find.ts";
import { type ClusterTrustFlags, loadTrustSources } from "../../cluster/trust-sources.ts";
import { writeBundle } from "../../doctor/bundle.ts";
import { checkCluster } from "../../doctor/cluster.ts";
import { checkEntries } from "../../doctor/entries.ts";
import { checkIdle, type IdleChannel } from "../../doctor/idle.ts";
import { checkNetwork } from "../../doctor/network.ts";
import { createOwnAudienceCheck } from "../../doctor/own-audience.ts";
import { type CheckStatus, createDoctorReport, type DoctorReport, type DoctorResult } from "../../doctor/report.ts";
import { checkSignIn } from "../../doctor/sign-in.ts";
import { isEntraIssuer } from "../../login/entra-authority.ts";
import { type Cluster, fetchClusters } from "../../relay/api.ts";
import { chooseRelay, type RelayFlags } from "../../relay/choice.ts";
import { connectRelay, type RelayConnection, type RelayConnectionEvent } from "../../relay/connection.ts";
import { printable } from "../../terminal/printable.ts";
import { createStyle, type Style } from "../../terminal/style.ts";
import type { CallerTokens } from "../../tokens/caller-tokens.ts";
import { chooseTokens } from "../../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../../tokens/given/token-flags.ts";
import { VERSION } from "../../version.ts";
import type { CommandContext } from "../context.ts";

export interface DoctorFlags extends RelayFlags, TokenFlags, ClusterTrustFlags {
  readonly name?: readonly string[];
  readonly output: "text" | "json";
  /** How long the channel stays silent to see whether something cuts it; 0 leaves that out. */
  readonly idleSeconds: number;
  /** Path of an archive for the person who helps. */
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
  const report = createDoctorReport({ signal }, (result) => {
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
  report: DoctorReport,
  context: Pick<CommandContext, "deps" | "signal">,
): Promise<void> {
  const { deps, signal } = context;
  await checkEntries(report, { signal }, deps);
  const relay = await chooseRelay(flags, deps);
  const info = await checkNetwork(relay.url, report, { signal, expectsOwnAuthority: relay.caFile !== undefined }, deps);
  const tokens = chooseTokens(relay.url, await findGivenTokens(flags, deps), deps);
  const found = await checkSignIn(tokens, info, report, { signal, cluster: namedCluster(flags) });
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
  const login = info.login ?? undefined;
  if (offered !== undefined)
    await examineClusters(flags, { offered, relay: relay.url, tokens, login }, report, context);
}

/** The clusters that a relay offers the caller of these tokens. */
interface OfferedClusters {
  readonly offered: readonly Cluster[];
  readonly relay: URL;
  readonly tokens: CallerTokens;
  /** The relay's word about signing in. */
  readonly login: LoginSettings | undefined;
}

async function examineClusters(
  flags: DoctorFlags,
  { offered, relay, tokens, login }: OfferedClusters,
  report: DoctorReport,
  { deps, signal }: Pick<CommandContext, "deps" | "signal">,
): Promise<void> {
  const wanted: readonly (string | ClusterId)[] = flags.name ?? offered.map(({ id }) => id);
  if (wanted.length === 0) return;
  const end = new AbortController();
  const lost = new AbortController();
  let losses = 0;
  const onEvent = ({ kind }: RelayConnectionEvent): void => {
    if (kind !== "lost") return;
    losses += 1;
    lost.abort();
  };
  const connection = connectRelay(
    { relay, signal: AbortSignal.any([signal, end.signal]), onEvent },
    { ...deps, tokens },
  );
  const idle: IdleChannel = {
    get losses() {
      return losses;
    },
    lost: lost.signal,
    ask: async (options) => {
      const [asked] = offered;
      if (asked !== undefined) await askAgent(connection, asked.id, options);
    },
  };
  try {
    await examineThrough(wanted, { offered, relay, tokens, login, connection, idle }, flags, report, { deps, signal });
  } finally {
    end.abort();
    await connection.closed;
  }
}

interface Examined extends OfferedClusters {
  readonly connection: RelayConnection;
  readonly idle: IdleChannel;
}

async function examineThrough(
  wanted: readonly (string | ClusterId)[],
  { offered, relay, tokens, login, connection, idle }: Examined,
  flags: DoctorFlags,
  report: DoctorReport,
  { deps, signal }: Pick<CommandContext, "deps" | "signal">,
): Promise<void> {
  const isOpen = await report.check("channel", async () => {
    const startedAt = performance.now();
    await connection.ready;
    return { value: true, detail: `a WebSocket opened in ${Math.round(performance.now() - startedAt)} ms` };
  });
  if (isOpen === undefined) return;
  const sources = await loadTrustSources(relay, flags, { signal }, deps);
  const ids = offered.map(({ id }) => id);
  const own = createOwnAudienceCheck({ ids, login, isEntra: isEntraIssuer(login?.issuer ?? "") }, report);
  for (const name of wanted) {
    const cluster = await report.check(`${name}: grant`, async () => {
      const [value] = findClusters([name], offered, relay.origin);
      return { value, detail: "you may open streams to it" };
    });
    if (cluster === undefined) continue;
    const { id } = cluster;
    const token = await tokens.token("cluster", { signal, cluster: id }).then(
      (found) => found.token,
      () => undefined,
    );
    if (token !== undefined) await own(id, token);
    await checkCluster({ relay: relay.origin, cluster, token, connection, sources, now: deps.now() }, report, {
      signal,
    });
  }
  if (flags.idleSeconds === 0 || offered.length === 0) report.skip("idle channel", "left out");
  else {
    const idleMs = flags.idleSeconds * 1_000;
    await report.check("idle channel", async () => await checkIdle(idle, idleMs, { signal }, deps));
  }
}

function namedCluster({ name }: DoctorFlags): ClusterId | undefined {
  const [first] = name ?? [];
  return first === undefined ? undefined : parseClusterId(first);
}

/** Codes that are not an answer of relay or agent. */
const UNANSWERED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "CC_TIMEOUT",
  "CC_CHANNEL_LOST",
  "CC_KEEPALIVE_TIMEOUT",
]);

/** A refusal is an answer, too: the channel carried it. */
async function askAgent(
  connection: RelayConnection,
  cluster: ClusterId,
  options: { readonly signal: AbortSignal },
): Promise<void> {
  try {
    const stream = await connection.open(cluster, { ...options, upstream: UPSTREAM_PROBE });
    await stream.accepted;
    stream.destroy();
  } catch (error) {
    if (options.signal.aborted || UNANSWERED.has(toConnectError(error).code)) throw error;
  }
}

const MARKS: Readonly<Record<CheckStatus, string>> = { ok: "ok", warning: "warn", failed: "FAIL", skipped: "skip" };

function formatResult({ check, status, detail, hint }: DoctorResult, style: Style): string {
  const mark = MARKS[status].padEnd(4);
  const colour = { ok: style.good, warning: style.strong, failed: style.bad, skipped: style.faint }[status];
  const line = `${colour(mark)}  ${check.padEnd(23)}  ${printable(detail)}\n`;
  return hint === null ? line : `${line}${" ".repeat(31)}${printable(hint)}\n`;
}
