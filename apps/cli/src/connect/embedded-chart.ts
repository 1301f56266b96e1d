import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { getAsset, isSea } from "node:sea";
import { isThere } from "../files/is-there.ts";

/** Files of the chart by their path in it, as the single executable carries them. */
export type ChartFiles = Readonly<Record<string, string>>;

/** Name of the asset that `scripts/pack.ts` adds: the files as JSON. */
export const CHART_ASSET = "chart.json";

/** The chart inside a single executable; undefined for a program that has files beside it. */
export function readEmbeddedChart(): ChartFiles | undefined {
  return isSea() ? JSON.parse(getAsset(CHART_ASSET, "utf8")) : undefined;
}

/**
 * Writes the files where helm can read them, and nobody but this user can change them. The folder is named by their
 * content, so that another version of the program has another one.
 *
 * @param folder that belongs to this user; made when it is not there.
 * @returns the chart's folder.
 */
export async function unpackChart(files: ChartFiles, folder: string): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify(files)).digest("hex").slice(0, 16);
  const chart = join(folder, `chart-${hash}`);
  if (await isThere(join(chart, "Chart.yaml"))) return chart;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const temporary = await mkdtemp(`${chart}.`);
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(temporary, path)), { recursive: true, mode: 0o700 });
    await writeFile(join(temporary, path), text, { mode: 0o600 });
  }
  try {
    await rename(temporary, chart);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    // Another process has written it meanwhile.
    if (!(await isThere(join(chart, "Chart.yaml")))) throw error;
  }
  return chart;
}
