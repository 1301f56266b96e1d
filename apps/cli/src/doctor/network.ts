import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { connect, isIP } from "node:net";
import { connect as connectTls, type PeerCertificate } from "node:tls";
import { proxyFor } from "@cluster-connect/framing/ws";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { networkError } from "../network-error.ts";
import { isLoopback } from "../relay-address.ts";
import { fetchRelayInfo, type RelayInfo } from "../relay-api.ts";
import type { Report } from "./report.ts";

const TIMEOUT_MS = 10_000;
const MAX_SKEW_MS = 60_000;

/**
 * Checks the way to the relay: name, address, certificate, whether it is a relay, and its clock.
 *
 * @returns what the relay says about itself; undefined when it cannot be asked.
 */
export async function checkNetwork(
  relay: URL,
  report: Report,
  options: { readonly signal: AbortSignal },
  deps: CliDeps,
): Promise<RelayInfo | undefined> {
  const proxy = await report.check("proxy settings", async () => {
    const found = isLoopback(relay) ? undefined : proxyFor(relay, deps.env);
    return { value: found ?? null, detail: found === undefined ? "none for this relay" : `by way of ${found.host}` };
  });
  const first = proxy ?? relay;
  const host = first.hostname.replace(/^\[(.*)\]$/, "$1");
  const address = await report.check("name", async () => {
    try {
      const { address: found } = await lookup(host);
      return { value: found, detail: `${host} is ${found}` };
    } catch (cause) {
      throw networkError(host, "CC_RELAY_UNREACHABLE", cause);
    }
  });
  if (address === undefined) {
    for (const name of ["connection", "certificate", "relay", "clock"]) report.skip(name, "the name does not resolve");
    return undefined;
  }
  await report.check("connection", async () => await checkTcp(host, portOf(first), options.signal));
  if (relay.protocol === "http:") report.skip("certificate", "on this machine, without TLS");
  else if (proxy !== null)
    report.skip("certificate", "behind an HTTP proxy: the next check tells whether it is trusted");
  else await report.check("certificate", async () => await checkCertificate(relay, options.signal));
  const info = await report.check("relay", async () => {
    const found = await fetchRelayInfo(relay, options, deps);
    return { value: found, detail: `${found.software}, id ${found.relayId}` };
  });
  if (info === undefined) report.skip("clock", "the relay does not answer");
  else await report.check("clock", async () => await checkClock(relay, options.signal, deps));
  return info;
}

async function checkTcp(host: string, port: number, outer: AbortSignal): Promise<{ value: true; detail: string }> {
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

/** Looks at the certificate whoever signed it: a proxy that intercepts TLS is then told by its name. */
async function checkCertificate(relay: URL, outer: AbortSignal): Promise<{ value: true; detail: string }> {
  const signal = AbortSignal.any([outer, AbortSignal.timeout(TIMEOUT_MS)]);
  const host = relay.hostname.replace(/^\[(.*)\]$/, "$1");
  // Nothing is sent over this connection; it is closed once the certificate was seen.
  // An address is no server name, by RFC 6066.
  const servername = isIP(host) === 0 ? host : "";
  const socket = connectTls({ host, port: portOf(relay), servername, rejectUnauthorized: false });
  try {
    await once(socket, "secureConnect", { signal });
    const certificate = socket.getPeerCertificate();
    const signer = nameOf(certificate.issuer);
    if (socket.authorizationError !== null && socket.authorizationError !== undefined && !socket.authorized) {
      const reason = String(socket.authorizationError);
      throw new ConnectError("CC_TLS_UNTRUSTED", `${host} shows a certificate signed by ${signer}: ${reason}`, {
        hint: `If ${signer} is your company's, its proxy intercepts TLS: give its authority with --ca-file. If not, stop.`,
      });
    }
    return { value: true, detail: `signed by ${signer}, until ${certificate.valid_to}` };
  } catch (cause) {
    throw networkError(relay.host, "CC_RELAY_UNREACHABLE", timeoutOf(cause, signal));
  } finally {
    socket.destroy();
  }
}

async function checkClock(
  relay: URL,
  signal: AbortSignal,
  deps: CliDeps,
): Promise<{ value: number; detail: string; warning?: string }> {
  const sentAt = deps.now();
  let date: string | null;
  try {
    const response = await deps.fetch(new URL("/healthz", relay), { signal, redirect: "manual" });
    await response.body?.cancel();
    date = response.headers.get("date");
  } catch (cause) {
    throw networkError(relay.host, "CC_RELAY_UNREACHABLE", cause);
  }
  const theirs = Date.parse(date ?? "");
  if (Number.isNaN(theirs)) return { value: 0, detail: "the relay does not tell its time" };
  const skewMs = (sentAt + deps.now()) / 2 - theirs;
  const seconds = Math.round(Math.abs(skewMs) / 1_000);
  const detail =
    seconds <= 1 ? "the same as the relay's" : `${seconds} s ${skewMs > 0 ? "ahead of" : "behind"} the relay's`;
  if (Math.abs(skewMs) <= MAX_SKEW_MS) return { value: skewMs, detail };
  return { value: skewMs, detail, warning: "Set this machine's clock: tokens seem expired, or not valid yet." };
}

function nameOf(names: PeerCertificate["issuer"]): string {
  const found = names.CN ?? names.O ?? "nobody";
  return (Array.isArray(found) ? found.join(", ") : String(found)).replaceAll(/\p{Cc}/gu, " ");
}

function portOf(url: URL): number {
  return url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port);
}

/** `once` says only that it was aborted. */
function timeoutOf(cause: unknown, signal: AbortSignal): unknown {
  return signal.aborted && !(cause instanceof ConnectError) ? signal.reason : cause;
}
