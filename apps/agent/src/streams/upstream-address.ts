/** Where an upstream listens. */
export type UpstreamAddress =
  | { readonly kind: "socket"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/** Reads the path of a unix socket (it holds a `/`) or `host:port`; undefined for anything else. */
export function parseUpstreamAddress(text: string): UpstreamAddress | undefined {
  if (text.includes("/")) return { kind: "socket", path: text };
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || !(port >= 1 && port <= 65_535)) return undefined;
  return { kind: "tcp", host, port };
}

/** How an address is written in logs and messages. */
export function upstreamText(address: UpstreamAddress): string {
  switch (address.kind) {
    case "socket":
      return address.path;
    case "tcp":
      return `${address.host}:${address.port}`;
  }
}
