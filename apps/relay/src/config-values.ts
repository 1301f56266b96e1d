import { isIP } from "node:net";
import { parseClusterId, UPSTREAM_PROBE } from "@cluster-connect/protocol";

/** Whether a grant may name clusters so: an id, or `*` for all. */
export function isClusterPattern(text: string): boolean {
  if (text === "*") return true;
  try {
    parseClusterId(text);
    return true;
  } catch {
    return false;
  }
}

/** Whether a grant may name an upstream so. A pattern would grant what an agent is given later. */
export function isUpstreamName(text: string): boolean {
  return text !== UPSTREAM_PROBE && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text);
}

/** Whether the text is an IP address, or a network such as `10.0.0.0/8`. */
export function isNetwork(text: string): boolean {
  const [address = "", bits, ...rest] = text.split("/");
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}
