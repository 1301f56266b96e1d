import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { connect } from "node:net";
import type { RelayInfo } from "@cluster-connect/api";
import { bareHost } from "@cluster-connect/base";
import { proxyFor } from "@cluster-connect/framing/ws";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { isLoopback } from "../relay/address.ts";
import { fetchRelayInfo } from "../relay/api.ts";
import { aheadOf, MAX_SKEW_MS } from "../relay/clock-skew.ts";
import { networkError } from "../relay/network-error.ts";
import { checkCertificate } from "./certificate.ts";
import type { DoctorReport, Finding } from "./report.ts";

const TIMEOUT_MS = 10_000;
const ROUND_TRIPS = 3;

/**
 * Checks the way to the relay: name, address, certificate, whether it is a relay, and its clock.
 *
 * @returns what the relay says about itself; undefined when it cannot be asked.
 */
export async function checkNetwork(
  relay: URL,
  report: DoctorReport,
  options: { readonly signal: AbortSignal; readonly expectsOwnAuthority: boolean },
  deps: CliDeps,
): Promise<RelayInfo | undefined> {
  const proxy = await report.check("proxy settings", async () => {
    const found = isLoopback(relay) ? undefined : proxyFor(relay, deps.env);
    return { value: found ?? null, detail: found === undefined ? "none for this relay" : `by way of ${found.host}` };
  });
  const first = proxy ?? relay;
  const host = bareHost(first.hostname);
  const address = await report.check("name", async () => {
    try {
      const { address: found } = await lookup(host);
      return { value: found, detail: `${host} is ${found}` };
    } catch (cause) {
      throw networkError(host, "CC_RELAY_UNREACHABLE", cause);
    }
  });
  if (address === undefined) {
    for (const name of ["connection", "certificate", "relay", "clock", "round trip"])
      report.skip(name, "the name does not resolve");
    return undefined;
  }
  await report.check("connection", async () => await checkTcp(host, portOfUrl(first), options.signal));
  if (relay.protocol === "http:") report.skip("certificate", "on this machine, without TLS");
  else {
    const check = { relay, proxy: proxy ?? undefined, expectsOwn: options.expectsOwnAuthority };
    await report.check("certificate", async () => await checkCertificate(check, options, deps));
  }
  const info = await report.check("relay", async () => {
    const found = await fetchRelayInfo(relay, options, deps);
    return { value: found, detail: `${found.software}, id ${found.relayId}` };
  });
  if (info === undefined) {
    for (const name of ["clock", "round trip"]) report.skip(name, "the relay does not answer");
    return undefined;
  }
  await report.check("clock", async () => await checkClock(relay, options.signal, deps));
  await report.check("round trip", async () => await measureRoundTrip(relay, options.signal, deps));
  return info;
}

async function checkTcp(host: string, port: number, outer: AbortSignal): Promise<Finding<boolean>> {
  const signal = AbortSignal.any([outer, AbortSignal.timeout(TIMEOUT_MS)]);
  const socket = connect({ host, port });
  try {
    await once(socket, "connect", { signal });
    return { value: true, detail: `port ${port} answers` };
  } catch (cause) {
    throw networkError(`${host}:${port}`, "CC_RELAY_UNREACHABLE", timeoutOf(cause, signal));
  } finally {
    socket.destroy();
  }
}

async function checkClock(relay: URL, signal: AbortSignal, deps: CliDeps): Promise<Finding<number>> {
  const sentAt = deps.now();
  let skewMs: number | undefined;
  try {
    const response = await deps.fetch(new URL("/healthz", relay), { signal, redirect: "manual" });
    await response.body?.cancel();
    skewMs = aheadOf(response, sentAt, deps.now());
  } catch (cause) {
    throw networkError(relay.host, "CC_RELAY_UNREACHABLE", cause);
  }
  if (skewMs === undefined) return { value: 0, detail: "the relay does not tell its time" };
  const seconds = Math.round(Math.abs(skewMs) / 1_000);
  const detail =
    seconds <= 1 ? "the same as the relay's" : `${seconds} s ${skewMs > 0 ? "ahead of" : "behind"} the relay's`;
  if (Math.abs(skewMs) <= MAX_SKEW_MS) return { value: skewMs, detail };
  return { value: skewMs, detail, warning: "Set this machine's clock: tokens seem expired, or not valid yet." };
}

/** The quickest of a few requests on a connection that is open. */
async function measureRoundTrip(relay: URL, signal: AbortSignal, deps: CliDeps): Promise<Finding<number>> {
  let bestMs = Number.POSITIVE_INFINITY;
  for (let count = 0; count < ROUND_TRIPS; count++) {
    const startedAt = performance.now();
    try {
      const response = await deps.fetch(new URL("/healthz", relay), { signal, redirect: "manual" });
      await response.body?.cancel();
    } catch (cause) {
      throw networkError(relay.host, "CC_RELAY_UNREACHABLE", cause);
    }
    bestMs = Math.min(bestMs, performance.now() - startedAt);
  }
  return { value: bestMs, detail: `to the relay and back in ${Math.round(bestMs)} ms` };
}

function portOfUrl(url: URL): number {
  return url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port);
}

/** `once` says only that it was aborted. */
function timeoutOf(cause: unknown, signal: AbortSignal): unknown {
  return signal.aborted && !(cause instanceof ConnectError) ? signal.reason : cause;
}
