import { isLoopbackHost } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";

/** Whether an address stays on this machine, where TLS is not needed. */
export function isLoopback(url: URL): boolean {
  return isLoopbackHost(url.hostname);
}

/**
 * Reads a relay's address: a host, or `https://host[:port]`; `http:` on loopback only.
 *
 * @param where names the flag, variable or file that it came from.
 * @throws ConnectError `CC_USAGE`
 */
export function parseRelayAddress(text: string, where: string): URL {
  const bad = (reason: string): ConnectError =>
    new ConnectError("CC_USAGE", `${where} is no relay address: ${reason}`, {
      hint: "Give it as https://relay.example.com",
    });
  const url = URL.parse(text.includes("://") ? text : `https://${text}`);
  if (url === null) throw bad("it cannot be read");
  if (url.protocol !== "https:" && url.protocol !== "http:") throw bad(`the scheme is ${url.protocol.slice(0, -1)}`);
  if (url.username !== "" || url.password !== "") throw bad("it holds a user name or password");
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "") throw bad("it has more than a host and a port");
  if (url.protocol === "http:" && !isLoopback(url)) throw bad("http works on this machine only, elsewhere use https");
  return url;
}
