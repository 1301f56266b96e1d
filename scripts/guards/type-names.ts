import { type SourceFile, workspaceOf } from "./source-file.ts";

const DECLARED = /^export (?:interface|type|class) (\w+)\b(?!.*\bfrom\b)/gm;

/** Names that mean two things, each with its reason. */
const TWICE: Readonly<Record<string, string>> = {
  Authority: "the auth proxy's of one cluster; the one of a control plane that e2e makes",
  Cluster: "a row of the CLI's list; a whole Kubernetes of e2e",
  Echo: "a stream of bench; a server of e2e's faults",
  Fleet: "the relays that one relay knows; the relays that e2e starts",
  Identity: "the agent's key and cluster; a certificate with its key of e2e's control plane",
  Link: "a network interface of e2e's node; a faulty connection of e2e",
  NodeOptions: "a Kubernetes node of e2e; a Node process of bench",
  SignalSource: "each program says which signals it listens for",
  Subject: "whom a grant names; what bench measures",
};

/** Exported types that are declared in two places. */
export function doubledTypes(files: readonly SourceFile[]): readonly string[] {
  const places = new Map<string, string[]>();
  for (const { path, text } of files) {
    if (workspaceOf(path) === undefined) continue;
    for (const [, name = ""] of text.matchAll(DECLARED)) places.set(name, [...(places.get(name) ?? []), path]);
  }
  return [...places]
    .filter(([name, paths]) => paths.length > 1 && !(name in TWICE))
    .map(([name, paths]) => `the type ${name} is declared in ${paths.join(" and ")}: one name, one meaning`);
}

/** Exceptions that are needed no longer. */
export function idleExceptions(files: readonly SourceFile[]): readonly string[] {
  return Object.keys(TWICE)
    .filter((name) => {
      const declared = new RegExp(`^export (?:interface|type|class) ${name}\\b`, "m");
      return files.filter(({ path, text }) => workspaceOf(path) !== undefined && declared.test(text)).length < 2;
    })
    .map((name) => `scripts/guards/type-names.ts lets ${name} be declared twice, and it is not`);
}
