import { findTools, type Tools } from "../../src/cluster/binaries/tools.ts";
import { SILENT } from "../../src/process/progress.ts";
import { type RunResult, runToEnd } from "../../src/process/run-to-end.ts";
import { repositoryFile } from "../../src/stack/repository-file.ts";
import { NO_END } from "./stack.ts";

export type ChartName = "cluster-connect-agent" | "cluster-connect-relay";

export const chartFolder = (name: ChartName): string => repositoryFile(`deploy/charts/${name}`);

/** Values that each chart has to be given. */
export const REQUIRED_VALUES: Readonly<Record<ChartName, Readonly<Record<string, unknown>>>> = {
  "cluster-connect-agent": {
    global: { resourceName: "prod" },
    relay: { url: "https://relay.example.com" },
    enrollment: { code: "one-time" },
    authentication: { jwt: [issuerFor("cluster")] },
  },
  "cluster-connect-relay": {
    publicUrl: "https://relay.example.com",
    store: { postgres: { existingSecret: "relay-db" } },
    peers: { existingSecret: "relay-peers" },
    authentication: {
      apiVersion: "apiserver.config.k8s.io/v1",
      kind: "AuthenticationConfiguration",
      jwt: [issuerFor("relay")],
    },
  },
};

function issuerFor(audience: string): object {
  return {
    issuer: { url: "https://login.example.com", audiences: [audience] },
    claimMappings: { username: { claim: "sub", prefix: "oidc:" } },
  };
}

export function findChartTools(): Promise<Tools> {
  const { env, platform, arch } = process;
  return findTools({ signal: NO_END }, { env, platform, arch, progress: SILENT });
}

/** helm without a cluster; values come as JSON, later ones are laid over earlier ones. */
export function runHelm(
  tools: Pick<Tools, "helm" | "path">,
  args: readonly string[],
  values: Readonly<Record<string, unknown>>,
): Promise<RunResult> {
  const env = { PATH: tools.path, HOME: "/nonexistent" };
  return runToEnd(tools.helm, [...args, "--values", "-"], { env, signal: NO_END, input: JSON.stringify(values) });
}

/** The same values with one more at a path such as `relay.url`. */
export function withValueAt(
  values: Readonly<Record<string, unknown>>,
  path: string,
  value: unknown,
): Readonly<Record<string, unknown>> {
  const [key = "", ...rest] = path.split(".");
  if (rest.length === 0) return { ...values, [key]: value };
  const inner = values[key];
  const below = typeof inner === "object" && inner !== null ? Object.fromEntries(Object.entries(inner)) : {};
  return { ...values, [key]: withValueAt(below, rest.join("."), value) };
}
