import type { ErrorCode } from "@cluster-connect/protocol";

/** The hops between this machine and a cluster's kube-apiserver, in order. */
export type Hop = "relay" | "agent" | "auth proxy" | "kube-apiserver";

const HOPS: readonly Hop[] = ["relay", "agent", "auth proxy", "kube-apiserver"];

const MISSING: Readonly<Partial<Record<ErrorCode, Hop>>> = {
  CC_RELAY_UNREACHABLE: "relay",
  CC_CHANNEL_LOST: "relay",
  CC_KEEPALIVE_TIMEOUT: "relay",
  CC_DRAINING: "relay",
  CC_UPSTREAM_UNREACHABLE: "auth proxy",
  CC_APISERVER_UNREACHABLE: "kube-apiserver",
};

/** The hop that an error says is missing. */
export function missingHop(code: ErrorCode): Hop {
  return MISSING[code] ?? "agent";
}

/** The hops in one line: those that are there, and the one that is waited for. */
export function describeHops(waitingFor: Hop): string {
  const at = HOPS.indexOf(waitingFor);
  return HOPS.map((hop, index) => (index < at ? `${hop} ok` : index === at ? `${hop} …` : hop)).join(" > ");
}
