import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { isIP } from "node:net";
import { connect, type DetailedPeerCertificate, type PeerCertificate, rootCertificates } from "node:tls";
import { bareHost } from "@cluster-connect/base";
import { connectThroughProxy } from "@cluster-connect/framing/ws";
import { ConnectError } from "@cluster-connect/protocol";
import { CERTIFICATE_TIME_HINT, isTimeProblem, networkError } from "../relay/network-error.ts";
import { timestamp } from "../tokens/stored-token.ts";
import type { Finding } from "./report.ts";

export interface CertificateCheck {
  readonly relay: URL;
  readonly proxy: URL | undefined;
  /** The caller has named an authority of their own, so that one which is not public is no surprise. */
  readonly expectsOwn: boolean;
}

const TIMEOUT_MS = 10_000;

/**
 * Looks at the relay's certificate, with any signer, also through an HTTP proxy. A proxy that intercepts TLS is told
 * apart by its signer. Nothing is sent over the connection; it is closed once the certificate was seen.
 */
export async function checkCertificate(
  { relay, proxy, expectsOwn }: CertificateCheck,
  options: { readonly signal: AbortSignal },
  deps: { readonly now: () => number },
): Promise<Finding<boolean>> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const host = bareHost(relay.hostname);
  const port = relay.port === "" ? 443 : Number(relay.port);
  let way: Socket | undefined;
  let socket: ReturnType<typeof connect> | undefined;
  try {
    way = proxy === undefined ? undefined : await connectThroughProxy(proxy, { host, port }, { signal });
    // An address is no server name, by RFC 6066.
    const servername = isIP(host) === 0 ? host : "";
    socket = connect({
      ...(way === undefined ? { host, port } : { socket: way }),
      servername,
      rejectUnauthorized: false,
    });
    await once(socket, "secureConnect", { signal });
    const certificate = socket.getPeerCertificate(true);
    const signer = signerName(certificate.issuer);
    const problem = String(socket.authorizationError);
    if (!socket.authorized && isTimeProblem(problem)) {
      const { valid_from: from, valid_to: to } = certificate;
      const here = timestamp(new Date(deps.now()));
      const message = `${host} shows a certificate that is good from ${from} to ${to} (${problem}); this machine's clock says ${here}`;
      throw new ConnectError("CC_TLS_UNTRUSTED", message, { hint: CERTIFICATE_TIME_HINT });
    }
    if (!socket.authorized) {
      throw new ConnectError("CC_TLS_UNTRUSTED", `${host} shows a certificate signed by ${signer}: ${problem}`, {
        hint: `If ${signer} is your company's, its proxy intercepts TLS: give its authority with --ca-file. If not, stop.`,
      });
    }
    return describeCertificate(certificate, signer, expectsOwn);
  } catch (cause) {
    throw networkError(relay.host, "CC_RELAY_UNREACHABLE", signal.aborted ? signal.reason : cause);
  } finally {
    socket?.destroy();
    way?.destroy();
  }
}

function describeCertificate(
  certificate: DetailedPeerCertificate,
  signer: string,
  expectsOwn: boolean,
): Finding<boolean> {
  const detail = `signed by ${signer}, until ${certificate.valid_to}`;
  if (isPublic(certificate)) return { value: true, detail: `${detail}; a public authority` };
  if (expectsOwn) return { value: true, detail: `${detail}; not a public authority, as --ca-file says` };
  return {
    value: true,
    detail: `${detail}; this machine trusts it, but it is not a public authority`,
    warning: `If ${signer} is not the relay's own, a proxy intercepts TLS: it can read the relay's token, not what clusters get.`,
  };
}

/** Whether the chain ends at an authority that browsers know, and not only at one of this machine's own. */
function isPublic(certificate: DetailedPeerCertificate): boolean {
  let top = certificate;
  for (let depth = 0; depth < 8; depth++) {
    const next: DetailedPeerCertificate | undefined = top.issuerCertificate;
    if (next === undefined || next === top) break;
    top = next;
  }
  return rootCertificates.some((pem) => new X509Certificate(pem).fingerprint256 === top.fingerprint256);
}

function signerName(names: PeerCertificate["issuer"]): string {
  const found = names.CN ?? names.O ?? "nobody";
  return (Array.isArray(found) ? found.join(", ") : String(found)).replaceAll(/\p{Cc}/gu, " ");
}
