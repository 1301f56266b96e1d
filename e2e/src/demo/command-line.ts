import { ConnectError } from "@cluster-connect/protocol";
import { parseArguments } from "@cluster-connect/service";
import { Command } from "commander";
import { USERS } from "../stack/issuer.ts";

/** A demo as the person asked for it. */
export type DemoRequest =
  | { readonly kind: "help" }
  | {
      readonly kind: "run";
      readonly user: string;
      /** A cluster of the person's own kubeconfig instead of a new one. */
      readonly context: string | undefined;
      /** With a node and a pod on it. */
      readonly node: boolean;
      /** Empty: stay until Ctrl-C. */
      readonly command: readonly string[];
    };

const NAMES: readonly string[] = USERS.map(({ name }) => name);
const HINT = "Run `npx -y pnpm@12 demo --help` to see what there is.";

export const USAGE: string = `Usage: npx -y pnpm@12 demo [--user NAME] [--node | --context NAME] [-- COMMAND...]

Starts a Kubernetes, an issuer, a relay, an agent and an auth proxy on this machine, signs a demo user in, and opens
the way from kubectl to the cluster. Everything is in one folder, which is removed at the end.

  --user NAME      who you are: ${NAMES.join(", ")}; viewer without it, admin with --node.
                   viewer may look, admin may do everything, the others are let in by nobody
  --node           with a node that runs pods, and one pod to exec into; needs Linux, root and a few packages,
                   which it names where they are missing
  --context NAME   use a cluster of your own kubeconfig; a namespace with a ServiceAccount and a few
                   roles are put there, and taken out at the end
  -- COMMAND...    run this command with KUBECONFIG set and exit with its code; without one, stay until Ctrl-C
  -h, --help       this text

Examples:
  npx -y pnpm@12 demo
  npx -y pnpm@12 demo -- kubectl auth whoami
  npx -y pnpm@12 demo --user admin -- kubectl create namespace x
  npx -y pnpm@12 demo --node -- kubectl exec shell -- id`;

/** @throws ConnectError `CC_USAGE` naming what is wrong. */
export function parseDemoArguments(argv: readonly string[]): DemoRequest {
  const end = argv.indexOf("--");
  const own = end === -1 ? argv : argv.slice(0, end);
  const values = parseFlags(own);
  if (values.help === true) return { kind: "help" };
  const node = values.node === true;
  if (node && values.context !== undefined) {
    throw new ConnectError("CC_USAGE", "--node and --context exclude each other", { hint: HINT });
  }
  const user = values.user ?? (node ? "admin" : "viewer");
  if (!NAMES.includes(user)) {
    throw new ConnectError("CC_USAGE", `There is no demo user ${user}`, { hint: `There are ${NAMES.join(", ")}.` });
  }
  return { kind: "run", user, context: values.context, node, command: end === -1 ? [] : argv.slice(end + 1) };
}

interface Flags {
  readonly user?: string | undefined;
  readonly context?: string | undefined;
  readonly node?: boolean | undefined;
  readonly help?: boolean | undefined;
}

function parseFlags(args: readonly string[]): Flags {
  const { options, words } = parsed(args);
  if (words.length === 0) return options;
  const word = args.find((argument) => !argument.startsWith("-")) ?? "";
  throw new ConnectError("CC_USAGE", `A command comes after --: demo -- ${word} …`, { hint: HINT });
}

function parsed(args: readonly string[]): ReturnType<typeof parseArguments<Flags>> {
  const command = new Command()
    .option("--user <value>")
    .option("--context <value>")
    .option("--node")
    .helpOption(false)
    .option("-h, --help");
  try {
    return parseArguments<Flags>(command, args);
  } catch (cause) {
    if (!(cause instanceof ConnectError)) throw cause;
    throw new ConnectError("CC_USAGE", cause.message, { cause, hint: HINT });
  }
}
