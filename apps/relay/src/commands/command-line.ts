import { type ClusterId, ConnectError, type KeyId, parseClusterId, parseKeyId } from "@cluster-connect/protocol";
import { parseArguments } from "@cluster-connect/service";
import { Command as Program } from "commander";
import type { ChainHead } from "../store/queries/audit-chain.ts";
import { parseDuration } from "./duration.ts";

/** How a command's result is written to stdout. */
export type Output = "text" | "json";

/** The command that the arguments ask for. */
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
      /** A file with heads that were noted outside of the store. */
      readonly headsFile: string | undefined;
      /** Files with keys that sealed the audit, the newest first; those of the settings without any. */
      readonly sealKeyFiles: readonly string[];
      readonly output: Output;
      readonly where: Where;
    }
  | {
      readonly kind: "auditBegin";
      /** A file to make, which takes the former audit. */
      readonly keepFile: string;
      readonly reason: string;
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
       cluster-connect-relay audit verify [--expect NUMBER:HASH] [--heads FILE] [--seal-key FILE]...
       cluster-connect-relay audit begin-anew --keep FILE --reason TEXT

  serve           run the relay (what happens without a command)
  enroll          make a one-time code with which an agent joins as cluster ID
  add-cluster     add a cluster before its agent is there, or a key (PEM) that an agent of it may use without a code
  clusters        list clusters, their agent keys and when they were last seen
  remove-cluster  forget a cluster with its keys and codes; its tunnels are closed, grants that name it stay
  revoke          make an agent key worthless; its tunnels are closed
  audit           verify that no entry of the audit was changed, left out or cut off, and its seals by the settings' key
      --expect NUMBER:HASH  an entry that was noted elsewhere
      --heads FILE          sealed heads that were noted elsewhere: the audit's file, or the relay's log
      --seal-key FILE       a key in place of the settings', or its public half; the newest first

  audit begin-anew     take an audit that is not whole as it is, keep it in FILE, and begin another; verify tells of it

  -c, --config FILE    settings; CC_CONFIG and CC_* variables work too
      --check-config   check the settings and exit
      --data-dir DIR   the folder of a SQLite store, in place of the settings (all but serve)
  -o, --output FORMAT  text or json (all but serve)
  -h, --help           this text
      --version        the version`;

interface RelayFlags {
  readonly config?: string;
  readonly checkConfig: boolean;
  readonly dataDir?: string;
  readonly cluster?: string;
  readonly expires: string;
  readonly uses: string;
  readonly key?: string;
  readonly publicKey?: string;
  readonly expect?: string;
  readonly heads?: string;
  readonly sealKey: readonly string[];
  readonly keep?: string;
  readonly reason?: string;
  readonly output: string;
  readonly help: boolean;
  readonly version: boolean;
}

const MAX_USES = 1_000;
const MAX_REASON_CHARACTERS = 500;

/** @throws ConnectError `CC_USAGE` naming the wrong argument, `CC_CLUSTER_ID_INVALID`, `CC_ID_INVALID`. */
export function parseCommandLine(argv: readonly string[]): Command {
  const { options, words } = parseArguments<RelayFlags>(createProgram(), joinKey(argv));
  const [name = "serve", ...rest] = words;
  if (options.help) return { kind: "help" };
  if (options.version) return { kind: "version" };
  const [word, ...more] = name === "audit" ? rest : ["", ...rest];
  if (name === "audit" && word !== "verify" && word !== "begin-anew")
    throw new ConnectError("CC_USAGE", "expected audit verify or audit begin-anew");
  if (more.length > 0) throw new ConnectError("CC_USAGE", `${more[0]} is one argument too many`);
  const where = { configFile: options.config, dataDir: options.dataDir };
  const output = parseOutput(options.output);
  switch (name) {
    case "audit":
      if (word === "begin-anew") {
        const keepFile = required(options.keep, "--keep FILE");
        return { kind: "auditBegin", keepFile, reason: parseReason(options.reason), output, where };
      }
      return {
        kind: "auditVerify",
        expected: parseHead(options.expect),
        headsFile: options.heads,
        sealKeyFiles: options.sealKey,
        output,
        where,
      };
    case "serve":
      return { kind: "serve", checkConfig: options.checkConfig, where };
    case "enroll":
      return {
        kind: "enroll",
        clusterId: parseClusterId(required(options.cluster, "--cluster ID")),
        expiresMs: parseDuration(options.expires),
        maxUses: parseUses(options.uses),
        output,
        where,
      };
    case "add-cluster":
      return {
        kind: "add-cluster",
        clusterId: parseClusterId(required(options.cluster, "--cluster ID")),
        publicKeyFile: options.publicKey,
        output,
        where,
      };
    case "clusters":
      return { kind: "clusters", output, where };
    case "remove-cluster":
      return { kind: name, clusterId: parseClusterId(required(options.cluster, "--cluster ID")), output, where };
    case "revoke":
      return { kind: "revoke", keyId: parseKeyId(required(options.key, "--key ID")), output, where };
    default:
      throw new ConnectError("CC_USAGE", `${name} is no command of the relay`);
  }
}

function createProgram(): Program {
  return new Program()
    .helpOption(false)
    .option("-c, --config <value>")
    .option("--check-config", "", false)
    .option("--data-dir <value>")
    .option("--cluster <value>")
    .option("--expires <value>", "", "1h")
    .option("--uses <value>", "", "1")
    .option("--key <value>")
    .option("--public-key <value>")
    .option("--expect <value>")
    .option("--heads <value>")
    .option("--seal-key <value>", "", (value: string, former: readonly string[]) => [...former, value], [])
    .option("--keep <value>")
    .option("--reason <value>")
    .option("-o, --output <value>", "", "text")
    .option("-h, --help", "", false)
    .option("--version", "", false);
}

/** A key's id may begin with a dash; such a value is taken only behind `=`. */
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

/** It is printed by each later verification. */
function parseReason(text: string | undefined): string {
  const reason = required(text, "--reason TEXT").trim();
  if (reason.length > 0 && reason.length <= MAX_REASON_CHARACTERS && !/\p{C}/u.test(reason)) return reason;
  throw new ConnectError("CC_USAGE", `--reason is a line of 1 to ${MAX_REASON_CHARACTERS} characters`);
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
