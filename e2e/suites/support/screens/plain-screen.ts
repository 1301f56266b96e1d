/** Names on a screen that differ from run to run; fixed ones stand for them in the documentation. */
export interface ScreenNames {
  readonly relay: string;
  readonly issuer: string;
  /** The person's home. */
  readonly home: string;
}

const FINGERPRINT = "5B:C2:0E:7A:41:9D:F3:66:1B:28:D4:8C:03:EA:97:5F:62:BE:0D:31:A8:74:C9:1E:F0:45:8B:26:DA:93:6C:17";

/** Replaces addresses, numbers and times of this run by ones that stay. */
export function plainScreen(screen: string, names: ScreenNames): string {
  const relayHost = new URL(names.relay).host;
  const issuerHost = new URL(names.issuer).host;
  return screen
    .replaceAll(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, "2026-01-05T08:41:07Z")
    .replaceAll(/\b\d+s ago\b/g, (ago) => "now".padEnd(ago.length))
    .replaceAll(/\/logins\/[0-9a-f]{24}\b/g, "/logins/5bc20e7a419df3661b28d48c")
    .replaceAll(/https?:\/\/\S+[?&]response_type=\S+/g, "https://id.example.com/auth?client_id=cluster-connect-cli&…")
    .replaceAll(names.relay, "https://relay.example.com")
    .replaceAll(relayHost, "relay.example.com")
    .replaceAll(names.issuer, "https://id.example.com")
    .replaceAll(issuerHost, "id.example.com")
    .replaceAll(names.home, "~")
    .replaceAll(/\b([0-9A-F]{2}:){31}[0-9A-F]{2}\b/g, FINGERPRINT)
    .replaceAll(/(?<![0-9A-F:])([0-9A-F]{2}:){7}[0-9A-F]{2}\b(?!:)/g, FINGERPRINT.slice(0, 23))
    .replaceAll(/127\.0\.0\.1:\d+/g, "127.0.0.1:47011")
    .replaceAll(/\b([Pp]ort) \d{4,5}\b/g, "$1 47011")
    .replaceAll(/--port \d{4,5}\b/g, "--port 47011")
    .replaceAll(/\b\d\d:\d\d:\d\d\b/g, "09:41:07")
    .replaceAll(/\b[A-Z][a-z]{2} +\d{1,2} 09:41:07 \d{4} GMT/g, "Jan  5 09:41:07 2027 GMT")
    .replaceAll(/\b\d+ ms\b/g, "31 ms")
    .replaceAll(/\b\d+ rules\b/g, "12 rules")
    .replaceAll(/\bprocess \d+\b/g, "process 4711")
    .replaceAll(/\(and \d+ times before\)/g, "(and 3 times before)")
    .replaceAll(/\b[0-9a-f]{32}\b/g, "b4dd8607ca705c620a2de7aba567b89a")
    .replaceAll(/(?<!correlation )\bid [\w-]{8,}$/gm, "id relay-1");
}
