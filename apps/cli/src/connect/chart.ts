import { realpathSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { isThere } from "../files/is-there.ts";
import { foldersOf } from "../settings/folders.ts";
import { type ChartFiles, readEmbeddedChart, unpackChart } from "./embedded-chart.ts";

/** Beside a single executable: the person's own comes before the one inside. */
const BESIDE = "chart";
/** As seen from this code: beside the program's files, in an image, in the sources. */
const PLACES = ["../chart", "../../chart", "../../../../deploy/charts/cluster-connect-agent"];

type ChartDeps = Pick<CliDeps, "self" | "env" | "homeDir"> & {
  /** In place of the one inside the single executable. */
  readonly embeddedChart?: () => ChartFiles | undefined;
};

/**
 * The chart that this program brings along.
 *
 * @throws ConnectError `CC_FILE_MISSING` when it is in none of its places.
 */
export async function findChart(given: string | undefined, deps: ChartDeps): Promise<string> {
  const places = given === undefined ? ownPlaces(deps.self) : [resolve(given)];
  for (const place of places) {
    if (await isThere(join(place, "Chart.yaml"))) return place;
  }
  // Helm knows what else a chart may be: an archive, a URL, oci://.
  if (given !== undefined) return given;
  const files = (deps.embeddedChart ?? readEmbeddedChart)();
  if (files !== undefined) return await unpackChart(files, foldersOf(deps).state);
  throw new ConnectError("CC_FILE_MISSING", "This program does not bring the chart along", {
    hint: "Name it with --chart: a folder, an archive, or an address that helm knows.",
  });
}

/** The started program may be a link on PATH; the chart is beside the program that the link leads to. */
function realPathOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function ownPlaces(self: CliDeps["self"]): readonly string[] {
  const beside = join(dirname(realPathOf(self.args.at(-1) ?? self.command)), BESIDE);
  // A single executable has no files of its own.
  if (import.meta.url === "") return [beside];
  return [...PLACES.map((place) => fileURLToPath(new URL(place, import.meta.url))), beside];
}
