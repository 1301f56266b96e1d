import type { IncomingMessage } from "node:http";
import { BlockList, isIP } from "node:net";

/** Finds the address a request came from. */
export type CallerAddress = (request: {
  readonly socket: Pick<IncomingMessage["socket"], "remoteAddress">;
  readonly headersDistinct: IncomingMessage["headersDistinct"];
}) => string | undefined;

/**
 * Takes X-Forwarded-For into account where the next hop is a proxy that is trusted: read from the right, the first
 * address that is no such proxy is the caller's.
 *
 * @param trusted addresses and networks, checked by the settings.
 */
export function createCallerAddress(trusted: readonly string[]): CallerAddress {
  const isProxy = createProxyCheck(trusted);
  return ({ socket, headersDistinct }) => {
    const hops = (headersDistinct["x-forwarded-for"] ?? []).join(",").split(",").map(plainAddress);
    let address = plainAddress(socket.remoteAddress ?? "");
    while (address !== undefined && isProxy(address)) {
      const next = hops.pop();
      if (next === undefined) return address;
      address = next;
    }
    return address;
  };
}

/** Whether an address is that of a proxy that is trusted. */
export function createProxyCheck(trusted: readonly string[]): (address: string) => boolean {
  const proxies = new BlockList();
  for (const entry of trusted) {
    const [address = "", bits] = entry.split("/");
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    proxies.addSubnet(address, bits === undefined ? (family === "ipv6" ? 128 : 32) : Number(bits), family);
  }
  return (address) => proxies.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

const isLoopback = createProxyCheck(["127.0.0.0/8", "::1"]);
/** A proxy on this machine adds one of these to each request that it passes on. */
const PASSED_ON: readonly string[] = ["x-forwarded-for", "x-real-ip", "forwarded", "via"];

/** Whether a request came from this machine itself, as far as its sender tells; one that a proxy passed on did not. */
export function isFromThisMachine({ socket, headersDistinct }: Parameters<CallerAddress>[0]): boolean {
  const address = plainAddress(socket.remoteAddress ?? "");
  if (address === undefined || !isLoopback(address)) return false;
  return PASSED_ON.every((name) => headersDistinct[name] === undefined);
}

/** Without a port, brackets or the IPv4-in-IPv6 prefix; undefined for a text that is no address. */
export function plainAddress(text: string): string | undefined {
  const trimmed = text.trim();
  const bracketed = /^\[([^\]]+)\](?::\d+)?$/.exec(trimmed)?.[1];
  const withoutPort = bracketed ?? (/^[\d.]+:\d+$/.test(trimmed) ? trimmed.replace(/:\d+$/, "") : trimmed);
  const address = withoutPort.replace(/^::ffff:(?=\d+\.)/i, "");
  return isIP(address) === 0 ? undefined : address;
}

/**
 * Gives the network that an address counts as in limits. A host has 64 bits of IPv6 to itself, so all of them are one.
 *
 * @param address as {@link plainAddress} gives it.
 */
export function networkOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const groups = groupsOf(address);
  const holdsIPv4 = IPV4_PREFIXES.some((prefix) => prefix.every((group, index) => groups[index] === group));
  return holdsIPv4 ? address : `${groups.slice(0, 4).join(":")}::/64`;
}

/** Behind these (mapped, and NAT64's) each IPv4 host has an address of its own. */
const IPV4_PREFIXES: readonly (readonly string[])[] = [
  ["0", "0", "0", "0", "0", "ffff"],
  ["64", "ff9b", "0", "0", "0", "0"],
];

/** The eight groups of an IPv6 address, without leading zeros. */
function groupsOf(address: string): readonly string[] {
  // The URL parser knows one spelling only; a zone is none of it.
  const [head = "", tail = ""] = new URL(`http://[${address.split("%", 1)[0]}]`).hostname.slice(1, -1).split("::");
  const [left, right] = [head, tail].map((part) => (part === "" ? [] : part.split(":")));
  const missing = 8 - (left?.length ?? 0) - (right?.length ?? 0);
  return [...(left ?? []), ...new Array<string>(missing).fill("0"), ...(right ?? [])];
}
