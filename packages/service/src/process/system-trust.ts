import { getCACertificates, setDefaultCACertificates } from "node:tls";

/**
 * Trusts the authorities of the machine beside those that come with Node and those of `NODE_EXTRA_CA_CERTS`, for all TLS
 * of this process that names no authority of its own.
 */
export function trustSystemAuthorities(): void {
  const system = getCACertificates("system");
  if (system.length > 0) setDefaultCACertificates([...new Set([...getCACertificates("default"), ...system])]);
}
