/** Loaded first into the processes that a test starts: they get the text of the mutant in place of the file's. */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { pathToFileURL } from "node:url";
import { SERVED_VARIABLE } from "./messages.ts";

function readServed(path: string | undefined): { readonly url: string; readonly source: string } | undefined {
  if (path === undefined) return undefined;
  const served: unknown = JSON.parse(readFileSync(path, "utf8"));
  if (typeof served !== "object" || served === null || !("file" in served) || !("source" in served)) return undefined;
  return { url: pathToFileURL(String(served.file)).href, source: String(served.source) };
}

const served = readServed(process.env[SERVED_VARIABLE]);
if (served !== undefined) {
  registerHooks({
    load: (url, context, nextLoad) =>
      url === served.url
        ? { format: "module-typescript", source: served.source, shortCircuit: true }
        : nextLoad(url, context),
  });
}
