import { readFileSync } from "node:fs";
import { parse } from "yaml";

/** Packages that npm fetches where it can; the program does without them where it cannot. */
const OPTIONAL = ["@napi-rs/keyring"];

/** Older ones have faults that a hostile server can use. */
export const OLDEST_NODE = "24.18.1";

/**
 * The manifest of the packed program: nothing but Node is needed beside it.
 *
 * @param name of the program's file without its ending.
 */
export function npmManifest(name: string): string {
  const own: Readonly<Record<string, unknown>> = JSON.parse(read("../package.json"));
  const { catalog } = parse(read("../../../pnpm-workspace.yaml"));
  const file = `./${name}.mjs`;
  const manifest = {
    name: own["name"],
    version: own["version"],
    description: own["description"],
    license: own["license"],
    type: "module",
    bin: { "cluster-connect": file, "kubectl-cluster_connect": file },
    engines: { node: `>=${OLDEST_NODE}` },
    optionalDependencies: Object.fromEntries(OPTIONAL.map((one) => [one, versionOf(one, catalog)])),
  };
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

function versionOf(name: string, catalog: Readonly<Record<string, unknown>>): string {
  const version = catalog[name];
  if (typeof version === "string") return version;
  throw new Error(`The catalog has no version of ${name}`);
}

/** The README of the packed program. The files beside it in the repository are not beside it there. */
export function npmReadme(text: string): string {
  return text.replaceAll(/\[([^\]]+)\]\((?!https?:|#)[^)]*\)/g, "$1");
}

function read(path: string): string {
  return readFileSync(new URL(path, import.meta.url), "utf8");
}
