import { parseArgs } from "node:util";
import { type ClusterId, ConnectError, type KeyId, parseClusterId, parseKeyId } from "@cluster-connect/protocol";
import { usageError } from "@cluster-connect/service";
import type { ChainHead } from "./audit/chain.ts";
import { parseDuration } from "./duration.ts";

/** How a command's result is written to stdout. */
export type Output = "text" | "json";

/** What the binary was asked to do. */
export type Command =
  | { readonly kind: "help" }
  | { readonly kind: "version" }
  | { readonly kind: "serve"; readonly checkConfig: boolean; readonly where: Where }
  | {
      readonly kind: "enroll";
      readonly clusterId: ClusterId;
      readonly expiresMs: number;
      /** How many keys the code lets in. */
      readonly maxUses: number;
      readonly output: Output;
      readonly where: Where;
    }
  | {
      readonly kind: "add-cluster";
      readonly clusterId: ClusterId;
      /** A file with the agent's public key, PEM. */
      readonly publicKeyFile: string | undefined;
      readonly output: Output;
      readonly where: Where;
    }
  | { readonly kind: "clusters"; readonly output: Output; readonly where: Where }
  | { readonly kind: "remove-cluster"; readonly clusterId: ClusterId; readonly output: Output; readonly where: Where }
  | { readonly kind: "revoke"; readonly keyId: KeyId; readonly output: Output; readonly where: Where }
  | {
      readonly kind: "auditVerify";
      readonly expected: ChainHead | undefined;
      readonly output: Output;
      readonly where: Where;
    };

/** Where the settings, or for the store's commands at least the store, are. */
export interface Where {
  readonly configFile: string | undefined;
  readonly dataDir: string | undefined;
}

export const USAGE = `Usage: cluster-connect-relay [serve] --config FILE [--check-config]
       cluster-connect-relay enroll --cluster ID [--expires 1h] [--uses 1]
       cluster-connect-relay add-cluster --cluster ID [--public-key FILE]
       cluster-connect-relay clusters
       cluster-connect-relay remove-cluster --cluster ID
       cluster-connect-relay revoke --key ID
       cluster-connect-relay audit verify [--expect NUMBER:HASH]

  serve           run the relay (what happens without a command)
  enroll          make a one-time code with which an agent joins as cluster ID
  add-cluster     add a cluster before its agent is there, or a key (PEM) that an agent of it may use without a code
  clusters        list clusters, their agent keys and when they were last seen
  remove-cluster  forget a cluster with its keys and codes; its tunnels are closed, grants that name it stay
  revoke          make an agent key worthless; its tunnels are closed
  audit           verify that no entry of the audit was changed, left out or cut off

  -c, --config FILE    settings; CC_CONFIG and CC_* variables work too
      --check-config   check the settings and exit
      --data-dir DIR   the folder of a SQLite store, in place of the settings (all but serve)
  -o, --output FORMAT  text or json (all but serve)
  -h, --help           this text
      --version        the version`;

const OPTIONS = {
  config: { type: "string", short: "c" },
  "check-config": { type: "boolean", default: false },
  "data-dir": { type: "string" },
  cluster: { type: "string" },
  expires: { type: "string", default: "1h" },
  uses: { type: "string", default: "1" },
  key: { type: "string" },
  "public-key": { type: "string" },
  expect: { type: "string" },
  output: { type: "string", short: "o", default: "text" },
  help: { type: "boolean", short: "h", default: false },
  version: { type: "boolean", default: false },
} as const;

const MAX_USES = 1_000;

/** @throws ConnectError `CC_USAGE` naming what is wrong, `CC_CLUSTER_ID_INVALID`, `CC_ID_INVALID`. */
export function parseCommandLine(argv: readonly string[]): Command {
  const { values, positionals } = parse(argv);
  const [name = "serve", ...rest] = positionals;
  if (values.help) return { kind: "help" };
  if (values.version) return { kind: "version" };
  const [word, ...more] = name === "audit" ? rest : ["", ...rest];
  if (name === "audit" && word !== "verify") throw new ConnectError("CC_USAGE", "expected audit verify");
  if (more.length > 0) throw new ConnectError("CC_USAGE", `${more[0]} is one argument too many`);
  const where = { configFile: values.config, dataDir: values["data-dir"] };
  const output = parseOutput(values.output);
  switch (name) {
    case "audit":
      return { kind: "auditVerify", expected: parseHead(values.expect), output, where };
    case "serve":
      return { kind: "serve", checkConfig: values["check-config"], where };
    case "enroll":
      return {
        kind: "enroll",
        clusterId: parseClusterId(required(values.cluster, "--cluster ID")),
        expiresMs: parseDuration(values.expires),
        maxUses: parseUses(values.uses),
        output,
        where,
      };
    case "add-cluster":
      return {
        kind: "add-cluster",
        clusterId: parseClusterId(required(values.cluster, "--cluster ID")),
        publicKeyFile: values["public-key"],
        output,
        where,
      };
    case "clusters":
      return { kind: "clusters", output, where };
    case "remove-cluster":
      return { kind: name, clusterId: parseClusterId(required(values.cluster, "--cluster ID")), output, where };
    case "revoke":
      return { kind: "revoke", keyId: parseKeyId(required(values.key, "--key ID")), output, where };
    default:
      throw new ConnectError("CC_USAGE", `${name} is no command of the relay`);
  }
}

type Parsed = ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true }>>;

function parse(argv: readonly string[]): Parsed {
  try {
    return parseArgs({ args: [...joinKey(argv)], options: OPTIONS, allowPositionals: true });
  } catch (cause) {
    throw usageError(cause);
  }
}

/** A key's id may begin with a dash; `parseArgs` takes such a value only behind `=`. */
function joinKey(argv: readonly string[]): readonly string[] {
  const at = argv.indexOf("--key");
  const value = argv[at + 1];
  if (at < 0 || value === undefined || !/^-[\w-]{20,}$/.test(value)) return argv;
  return [...argv.slice(0, at), `--key=${value}`, ...argv.slice(at + 2)];
}

function required(value: string | undefined, what: string): string {
  if (value !== undefined) return value;
  throw new ConnectError("CC_USAGE", `${what} is missing`);
}

function parseUses(text: string): number {
  const uses = Number(text);
  if (Number.isInteger(uses) && uses >= 1 && uses <= MAX_USES) return uses;
  throw new ConnectError("CC_USAGE", `--uses is a number from 1 to ${MAX_USES}, not ${text}`);
}

function parseHead(text: string | undefined): ChainHead | undefined {
  if (text === undefined) return undefined;
  const [, sequence, hash] = /^([1-9]\d{0,14}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (sequence !== undefined && hash !== undefined) return { sequence: Number(sequence), hash };
  throw new ConnectError("CC_USAGE", "--expect is an entry's number and its hash, as in 12:0123…");
}

function parseOutput(text: string): Output {
  if (text === "text" || text === "json") return text;
  throw new ConnectError("CC_USAGE", `--output is text or json, not ${text}`);
}
