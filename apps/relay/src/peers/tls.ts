import { createPrivateKey, X509Certificate } from "node:crypto";
import { bareHost, certificateBlocks } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { readSettingFile } from "@cluster-connect/service";

/** How relays reach each other. */
export interface PeerSettings {
  readonly listen: { readonly host: string; readonly port: number };
  /** `host:port` at which the other relays reach this one; their certificates and this one's name the host. */
  readonly address: string;
  /** PEM: this relay's certificate for both sides of a channel, its key, and the authority of all relays. */
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

/** Credentials of a channel between relays, PEM. */
export interface PeerCredentials {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE` naming the setting, `CC_CONFIG_INVALID`. */
export async function readPeerCredentials(settings: PeerSettings): Promise<PeerCredentials> {
  const cert = await readSettingFile("peers.certFile", settings.certFile);
  const key = await readSettingFile("peers.keyFile", settings.keyFile);
  const ca = await readSettingFile("peers.caFile", settings.caFile);
  const certificate = parse(cert, key);
  requireAuthorities(ca);
  const host = hostOf(settings.address);
  if (certificate.checkHost(host) === undefined && certificate.checkIP(host) === undefined) {
    throw new ConnectError("CC_CONFIG_INVALID", `peers: the certificate does not name ${host}, as peers.address does`);
  }
  return { cert, key, ca };
}

/** TLS takes an empty file, as it is while it is being written, for the public authorities. */
function requireAuthorities(ca: string): void {
  try {
    if (certificateBlocks(ca).map((pem) => new X509Certificate(pem)).length > 0) return;
  } catch (cause) {
    throw new ConnectError("CC_CONFIG_INVALID", "peers.caFile: holds a certificate that cannot be read", { cause });
  }
  throw new ConnectError("CC_CONFIG_INVALID", "peers.caFile: holds no certificate in PEM");
}

/** The host of `host:port`, without the brackets of IPv6. */
export function hostOf(address: string): string {
  return bareHost(address.replace(/:\d+$/, ""));
}

function parse(cert: string, key: string): X509Certificate {
  try {
    const certificate = new X509Certificate(cert);
    if (certificate.checkPrivateKey(createPrivateKey(key))) return certificate;
  } catch (cause) {
    throw new ConnectError("CC_CONFIG_INVALID", "peers: the certificate and key are no pair in PEM", { cause });
  }
  throw new ConnectError("CC_CONFIG_INVALID", "peers: the certificate and key are no pair in PEM");
}
