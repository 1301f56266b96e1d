import type { Command } from "commander";

/** Examples for the help of commands, by the words that name a command. Those with more to say have a text of their own. */
const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  login: [
    "cluster-connect login --relay https://relay.example.com",
    "cluster-connect login --relay https://relay.example.com --device-code",
  ],
  logout: ["cluster-connect logout", "cluster-connect logout --all"],
  clusters: ["cluster-connect clusters", "cluster-connect clusters -o json"],
  "clusters trust": [
    "cluster-connect clusters trust -n staging",
    "cluster-connect clusters trust -n staging --fingerprint 5B:C2:…",
  ],
  "clusters sign": ["cluster-connect clusters sign -n staging --fleet-key-file fleet-key.pem"],
  "fleet-key create": ["cluster-connect fleet-key create -f fleet-key.pem"],
  "fleet-key revoke": [
    "cluster-connect fleet-key revoke -n staging --fleet-key-file fleet-key.pem --list revoked.json",
  ],
  status: ["cluster-connect status", "cluster-connect status -o json"],
  stop: ["cluster-connect stop -n staging", "cluster-connect stop --all"],
  logs: ["cluster-connect logs -n staging"],
  wait: ["cluster-connect wait -n staging --timeout 2m"],
  explain: ["cluster-connect explain -n staging", "cluster-connect explain -n staging -o json"],
  credential: ["cluster-connect credential --relay https://relay.example.com"],
  version: ["cluster-connect version", "cluster-connect version -o json"],
  "exit-codes": ["cluster-connect exit-codes", "cluster-connect exit-codes -o json"],
};

/**
 * The same for administrators of clusters and relays: for `connect` and the like, `issuers` and `admin`. `issuers`
 * writes the issuers that relay and auth proxy trust.
 */
const FOR_ADMINISTRATORS: Readonly<Record<string, readonly string[]>> = {
  "issuers entra": ["cluster-connect issuers entra --tenant TENANT --audience api://clusters -f authentication.yaml"],
  "issuers github-actions": [
    "cluster-connect issuers github-actions --audience prod --repository-id 42 -f authentication.yaml",
  ],
  "issuers gitlab": ["cluster-connect issuers gitlab --audience prod --project-id 42 --ref main"],
  "issuers azure-pipelines": [
    "cluster-connect issuers azure-pipelines --organization-id ID --subject sc://acme/shop/deploy",
  ],
  "issuers oidc": ["cluster-connect issuers oidc --url https://id.example.com --audience prod --groups-claim groups"],
  upgrade: ["cluster-connect upgrade --kube-context staging", "cluster-connect upgrade --dry-run"],
  disconnect: ["cluster-connect disconnect --kube-context staging"],
  disable: ["cluster-connect disable -n staging"],
  enable: ["cluster-connect enable -n staging"],
  "admin clusters list": ["cluster-connect admin clusters list -o yaml"],
  "admin clusters show": ["cluster-connect admin clusters show staging"],
  "admin clusters accept": [
    "cluster-connect admin clusters accept staging --fingerprint 5B:C2:0E:…",
    "cluster-connect admin clusters accept staging --uid 0b5c8f0e-6f0c-4d52-9d8c-2b1a7f3e4c5d",
  ],
  "admin clusters refuse": [
    "cluster-connect admin clusters refuse staging --fingerprint 5B:C2:0E:…",
    "cluster-connect admin clusters refuse staging --uid 0b5c8f0e-6f0c-4d52-9d8c-2b1a7f3e4c5d",
  ],
  "admin clusters label": ["cluster-connect admin clusters label staging env=test owner-"],
  "admin clusters disable": ["cluster-connect admin clusters disable staging"],
  "admin clusters enable": ["cluster-connect admin clusters enable staging"],
  "admin clusters remove": ["cluster-connect admin clusters remove staging"],
  "admin codes list": ["cluster-connect admin codes list"],
  "admin codes create": ["cluster-connect admin codes create -n staging --expires 1h"],
  "admin codes revoke": ["cluster-connect admin codes revoke ID"],
  "admin keys list": ["cluster-connect admin keys list"],
  "admin keys revoke": ["cluster-connect admin keys revoke ID"],
  "admin grants list": ["cluster-connect admin grants list -o json"],
  "admin grants add": ["cluster-connect admin grants add --selector env=test --group oidc:team-a --expires 8h"],
  "admin grants remove": ["cluster-connect admin grants remove ID"],
  "admin grants check": ["cluster-connect admin grants check -n staging --user oidc:jane"],
  "admin sessions list": ["cluster-connect admin sessions list"],
  "admin sessions end": ["cluster-connect admin sessions end ID"],
  "admin audit": ["cluster-connect admin audit -n staging --limit 20"],
};

/** Adds the examples to the help of a program's commands. */
export function addExamples(program: Command, path: readonly string[] = []): void {
  const name = path.join(" ");
  const examples = EXAMPLES[name] ?? FOR_ADMINISTRATORS[name];
  if (examples !== undefined) {
    program.addHelpText("after", `\nExamples:\n${examples.map((line) => `  ${line}`).join("\n")}`);
  }
  for (const command of program.commands) addExamples(command, [...path, command.name()]);
}
