import { readFileSync } from "node:fs";
import { parse } from "yaml";

/** What npm fetches where it can; the program does without where it cannot. */
const OPTIONAL = ["@napi-rs/keyring", "bufferutil"];

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
    engines: { node: ">=24.14" },
    optionalDependencies: Object.fromEntries(OPTIONAL.map((one) => [one, String(catalog[one])])),
  };
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

function read(path: string): string {
  return readFileSync(new URL(path, import.meta.url), "utf8");
}
