import { access } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";

/** Beside a single executable. */
const BESIDE = "chart";
/** As seen from this code: beside the program's files, in an image, in the sources. */
const PLACES = ["../chart", "../../chart", "../../../../deploy/charts/cluster-connect-agent"];

/**
 * The chart that this program brings along.
 *
 * @throws ConnectError `CC_FILE_MISSING` when it is in none of its places.
 */
export async function findChart(given: string | undefined, deps: Pick<CliDeps, "self">): Promise<string> {
  const places = given === undefined ? ownPlaces(deps.self) : [resolve(given)];
  for (const place of places) {
    const isThere = await access(join(place, "Chart.yaml")).then(
      () => true,
      () => false,
    );
    if (isThere) return place;
  }
  // Helm knows what else a chart may be: an archive, a URL, oci://.
  if (given !== undefined) return given;
  throw new ConnectError("CC_FILE_MISSING", "This program does not bring the chart along", {
    hint: "Name it with --chart: a folder, an archive, or an address that helm knows.",
  });
}

function ownPlaces(self: CliDeps["self"]): readonly string[] {
  const beside = join(dirname(self.args.at(-1) ?? self.command), BESIDE);
  // A single executable has no files of its own.
  if (import.meta.url === "") return [beside];
  return [...PLACES.map((place) => fileURLToPath(new URL(place, import.meta.url))), beside];
}
