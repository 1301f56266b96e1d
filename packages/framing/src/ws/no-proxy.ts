import { BlockList, isIP } from "node:net";

/**
 * Whether NO_PROXY exempts a host: names, with everything below them; addresses; networks such as `10.0.0.0/8` and
 * `fd00::/8`; each perhaps with a port; `*` for all. Entries are parted by commas or blanks.
 *
 * @param host as `URL.hostname` has it, with or without brackets.
 * @param list the variable's value.
 */
export function isExempt(host: string, port: number, list: string): boolean {
  const name = canonicalHost(host);
  return list.split(/[\s,]+/).some((entry) => entry !== "" && matches(entry.toLowerCase(), name, port));
}

function matches(entry: string, host: string, port: number): boolean {
  if (entry === "*") return true;
  const { name, port: only } = splitPort(entry);
  if (only !== undefined && only !== port) return false;
  if (name.includes("/")) return isInNetwork(name, host);
  const wanted = canonicalHost(name.replace(/^\*?\./, ""));
  if (wanted === "") return false;
  if (isIP(wanted) !== 0 || isIP(host) !== 0) return host === wanted;
  return host === wanted || host.endsWith(`.${wanted}`);
}

/** `name:port`, `[address]:port`, or without a port; an IPv6 address without brackets has none. */
function splitPort(entry: string): { readonly name: string; readonly port: number | undefined } {
  const bracketed = /^\[([^\]]*)\](?::(\d{1,5}))?$/.exec(entry);
  const found = bracketed ?? /^([^:]*)(?::(\d{1,5}))?$/.exec(entry);
  const [, name = entry, port] = found ?? [];
  return { name, port: port === undefined ? undefined : Number(port) };
}

function isInNetwork(network: string, host: string): boolean {
  const [, address = "", bits = ""] = /^(.*)\/(\d{1,3})$/.exec(network) ?? [];
  const version = isIP(address);
  if (version === 0 || version !== isIP(host) || Number(bits) > (version === 4 ? 32 : 128)) return false;
  const family = version === 4 ? "ipv4" : "ipv6";
  const block = new BlockList();
  block.addSubnet(address, Number(bits), family);
  return block.check(host, family);
}

/** Lower case, without brackets and the root's dot; addresses in the one form that URLs have. */
function canonicalHost(host: string): string {
  const bare = host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, "$1")
    .replace(/\.$/, "");
  if (isIP(bare) !== 6) return bare;
  return (URL.parse(`http://[${bare}]/`)?.hostname ?? bare).replace(/^\[(.*)\]$/, "$1");
}
