import { get } from "node:http";
import { get as getTls } from "node:https";
import { text } from "node:stream/consumers";

/** Reads the numbers of a daemon: name with labels, as it is written there, without the product's prefix. */
export async function readMetrics(url: string, caPem?: string): Promise<ReadonlyMap<string, number>> {
  const body = Promise.withResolvers<string>();
  const target = new URL(url);
  const request =
    target.protocol === "https:" && caPem !== undefined
      ? getTls(target, { ca: caPem, agent: false })
      : get(target, { agent: false });
  request.once("error", body.reject);
  request.once("response", (response) => {
    text(response).then(body.resolve, body.reject);
  });
  return parseMetrics(await body.promise);
}

/** Parses Prometheus' text format; only the label `service` is left out of the names. */
function parseMetrics(page: string): ReadonlyMap<string, number> {
  const lines = page.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(" ");
      const name = line
        .slice(0, at)
        .replace(/^cluster_connect_/, "")
        .replace(/,?service="\w+"/, "")
        .replace("{}", "");
      return [name, Number(line.slice(at + 1))];
    }),
  );
}
