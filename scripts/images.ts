/**
 * `pnpm images [APP...]`: one image for each app, from its production dependencies only.
 *
 * Each app is made ready in `dist/images/APP` (compiled, `pnpm deploy --prod`, an SBOM). That is the context of its
 * Dockerfile and of docker-bake.hcl; `--prepare` ends there. Says how large each image is and how long it takes to start.
 */
import { cp, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { APPS, type App, compileApps, makeAppFolder, pnpm, ROOT, run } from "./app-folder.ts";
import { runScript } from "./run-script.ts";

const USAGE = `Usage: npx -y pnpm@12 images [--base NAME] [--prefix TEXT] [--save FOLDER] [--prepare] [APP...]

Makes a container image of each app, or of those that are named: relay, agent, auth-proxy, cli. Needs Docker.

  --base NAME     base image; the one that the Dockerfiles name without it
  --prefix TEXT   what an image's name begins with; cluster-connect/ without it
  --save FOLDER   also write an archive of each image there
  --prepare       only make the folders dist/images/APP that the images are built of; needs no Docker`;

const CHART = "deploy/charts/cluster-connect-agent";
/** For people who read sources, not for a process that runs. */
const UNUSED = /\.(d\.[cm]?ts|map|md|flow|tsbuildinfo)$/;
/** Files that other tools of ours have put beside the compiled sources. */
const OTHER_THAN_SOURCES = /^(?!.*\.js$)/;
const STARTS = 5;

const isApp = (name: string): name is App => APPS.some((app) => app === name);

async function prepare(app: App): Promise<string> {
  const folder = join(ROOT, "dist", "images", app);
  await makeAppFolder(app, folder);
  await removeFiles(folder, UNUSED);
  await removeFiles(join(folder, "dist"), OTHER_THAN_SOURCES);
  // The chart that `cluster-connect connect` installs.
  if (app === "cli") await cp(join(ROOT, CHART), join(folder, "chart"), { recursive: true });
  const sbom = ["sbom", "--prod", "--sbom-format", "cyclonedx", "--sbom-spec-version", "1.6"];
  await pnpm(
    `--filter=@cluster-connect/${app}`,
    ...sbom,
    "--sbom-type",
    "application",
    "--out",
    join(folder, "sbom.cdx.json"),
  );
  return folder;
}

async function removeFiles(folder: string, pattern: RegExp): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && pattern.test(entry.name)) await rm(join(entry.parentPath, entry.name));
  }
}

async function build(
  app: App,
  folder: string,
  options: { readonly base?: string; readonly prefix: string },
): Promise<string> {
  const manifest: unknown = JSON.parse(await readFile(join(ROOT, "apps", app, "package.json"), "utf8"));
  const version =
    typeof manifest === "object" && manifest !== null && "version" in manifest ? String(manifest.version) : "0.0.0";
  const revision = (await run("git", ["rev-parse", "HEAD"], { quiet: true })).trim();
  const given = { VERSION: version, REVISION: revision, ...(options.base === undefined ? {} : { BASE: options.base }) };
  const buildArgs = Object.entries(given).flatMap(([name, value]) => ["--build-arg", `${name}=${value}`]);
  const image = `${options.prefix}${app}:${version}`;
  await run("docker", ["build", "--quiet", ...buildArgs, "--tag", image, "--file", `apps/${app}/Dockerfile`, folder], {
    quiet: true,
  });
  return image;
}

/** The middle of a few times from `docker run` to the end of `--version`, without a network and a writable root. */
async function startTime(image: string): Promise<number> {
  const times: number[] = [];
  for (let turn = 0; turn < STARTS; turn++) {
    const from = performance.now();
    await run("docker", ["run", "--rm", "--network=none", "--read-only", image, "--version"], { quiet: true });
    times.push(performance.now() - from);
  }
  return times.toSorted((a, b) => a - b)[Math.floor(STARTS / 2)] ?? 0;
}

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      base: { type: "string" },
      prefix: { type: "string", default: "cluster-connect/" },
      prepare: { type: "boolean", default: false },
      save: { type: "string" },
    },
  });
  const unknown = positionals.find((name) => !isApp(name));
  if (unknown !== undefined) throw new Error(`There is no app ${unknown}; there are ${APPS.join(", ")}`);
  const apps = positionals.length === 0 ? APPS : positionals.filter(isApp);
  await compileApps(apps);
  for (const app of apps) {
    const folder = await prepare(app);
    if (values.prepare) continue;
    const image = await build(app, folder, { prefix: values.prefix, ...(values.base ? { base: values.base } : {}) });
    const size = Number(await run("docker", ["image", "inspect", "--format", "{{.Size}}", image], { quiet: true }));
    const start = Math.round(await startTime(image));
    console.log(`${image}: ${Math.round(size / 1_000_000)} MB, ends after --version in ${start} ms`);
    if (values.save !== undefined) await save(image, join(resolve(values.save), `${app}.tar`));
  }
  return 0;
}

async function save(image: string, file: string): Promise<void> {
  await mkdir(resolve(file, ".."), { recursive: true });
  await run("docker", ["save", "--output", file, image]);
}

await runScript(USAGE, main);
