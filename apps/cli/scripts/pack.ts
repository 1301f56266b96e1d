/**
 * Packs the program. `pack.ts [FOLDER]` makes a few files that Node runs without packages beside them. `pack.ts --npm
 * [FOLDER]` makes a package for `npm publish`, `npm pack` or `npx`. `pack.ts --binary [FOLDER]` makes one executable
 * for this platform (a Node single executable application). `pack.ts --binary --platform NAME --node FILE [FOLDER]`
 * makes one for another platform, of that platform's own Node.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type BuildOptions, build, type Plugin } from "esbuild";
import { CHART_ASSET, type ChartFiles } from "../src/connect/embedded-chart.ts";
import { npmManifest, npmReadme, OLDEST_NODE } from "./npm-manifest.ts";

const HERE = fileURLToPath(new URL("..", import.meta.url));
const NAME = "cluster-connect";
/** The chart that `connect` installs. */
const CHART = join(HERE, "..", "..", "deploy", "charts", "cluster-connect-agent");
/** Where Node looks for a blob in its own executable. */
const FUSE = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";

const MAIN = "chunks/main";
/**
 * The program that is started. It needs nothing that an old Node lacks, so that it can name the Node that is needed
 * before anything else fails.
 */
const START = `#!/usr/bin/env node
const needed = ${JSON.stringify(OLDEST_NODE)}.split(".").map(Number);
const found = process.versions.node.split(".").map(Number);
const differs = needed.findIndex((part, index) => part !== found[index]);
if (differs >= 0 && found[differs] < needed[differs]) {
  process.stderr.write(
    "error: cluster-connect needs Node ${OLDEST_NODE} or newer, and this is Node " + process.versions.node + "\\n" +
      "hint: Install a newer Node, or use the single executable, which brings its own.\\n",
  );
  process.exitCode = 1;
} else {
  await import("./${MAIN}.mjs");
}
`;
const KEYRING = "@napi-rs/keyring";

const COMMON: BuildOptions = {
  absWorkingDir: HERE,
  bundle: true,
  platform: "node",
  target: "node24",
  conditions: ["source"],
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "linked",
};

const OWN_PLATFORM = `${process.platform}-${process.arch}`;
const { values, positionals } = parseArgs({
  options: {
    binary: { type: "boolean" },
    npm: { type: "boolean" },
    platform: { type: "string", default: OWN_PLATFORM },
    node: { type: "string", default: process.execPath },
  },
  allowPositionals: true,
});
const folder = resolve(positionals[0] ?? join(HERE, "dist", values.binary ? "binary" : values.npm ? "npm" : "pack"));
const target = targetOf(values.platform);
if (values.platform !== OWN_PLATFORM && values.node === process.execPath) throw new Error("--node FILE is missing");
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
if (values.binary) await packBinary();
else if (values.npm) await packNpm();
else await packFiles();

interface Target {
  readonly platform: NodeJS.Platform;
  readonly arch: string;
}

function targetOf(name: string): Target {
  const [, platform, arch] = /^(linux|darwin|win32)-(x64|arm64)$/.exec(name) ?? [];
  if (arch === undefined) throw new Error(`--platform is linux, darwin or win32, a hyphen, and x64 or arm64`);
  return { platform: platform === "win32" ? "win32" : platform === "darwin" ? "darwin" : "linux", arch };
}

/** The same files with what npm needs; the key store's library is left to npm, which knows the platform. */
async function packNpm(): Promise<void> {
  await packFiles([KEYRING]);
  writeFileSync(join(folder, "package.json"), npmManifest(NAME));
  copyFileSync(join(HERE, "..", "..", "LICENSE"), join(folder, "LICENSE"));
  writeFileSync(join(folder, "README.md"), npmReadme(readFileSync(join(HERE, "README.md"), "utf8")));
}

/** Each command's code stays a file of its own: Node reads only the files that it needs. */
async function packFiles(external: string[] = []): Promise<void> {
  await build({
    ...COMMON,
    external,
    entryPoints: { [MAIN]: "src/main.ts" },
    outdir: folder,
    format: "esm",
    splitting: true,
    outExtension: { ".js": ".mjs" },
    chunkNames: "chunks/[hash]",
    // The key store's binding for this platform; on others the program does without.
    loader: { ".node": "copy" },
    assetNames: "chunks/[name]-[hash]",
    // Some dependencies are CommonJS and ask for Node's own modules.
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  });
  writeFileSync(join(folder, `${NAME}.mjs`), START, { mode: 0o755 });
  cpSync(CHART, join(folder, "chart"), { recursive: true });
}

async function packBinary(): Promise<void> {
  const script = join(folder, `${NAME}.cjs`);
  const blob = join(folder, `${NAME}.blob`);
  const config = join(folder, "sea.json");
  const executable = join(folder, target.platform === "win32" ? `${NAME}.exe` : NAME);
  const binding = keyringBinding();
  // Code that was compiled ahead fits one build of Node only.
  const isOwn = values.platform === OWN_PLATFORM;
  await build({
    ...COMMON,
    entryPoints: ["src/main.ts"],
    outfile: script,
    format: "cjs",
    plugins: [keyringAsAsset(binding)],
    // Code that looks for its own file finds that there is none.
    define: { "import.meta.url": '""' },
  });
  const chart = join(folder, "chart.json");
  writeFileSync(chart, JSON.stringify(chartFiles()));
  const assets = { [CHART_ASSET]: chart, ...(binding === undefined ? {} : { "keyring.node": binding }) };
  const sea = { main: script, output: blob, disableExperimentalSEAWarning: true, useCodeCache: isOwn, assets };
  writeFileSync(config, JSON.stringify(sea));
  run(process.execPath, ["--experimental-sea-config", config]);
  copyFileSync(values.node, executable);
  chmodSync(executable, 0o755);
  // Elsewhere than on macOS the caller signs it there, before its first start.
  const canSign = target.platform === "darwin" && process.platform === "darwin";
  // On macOS a signature that no longer fits keeps the program from starting.
  if (canSign) run("codesign", ["--remove-signature", executable]);
  const postject = fileURLToPath(import.meta.resolve("postject")).replace(/api\.js$/, "cli.js");
  const macho = target.platform === "darwin" ? ["--macho-segment-name", "NODE_SEA"] : [];
  run(process.execPath, [postject, executable, "NODE_SEA_BLOB", blob, "--sentinel-fuse", FUSE, ...macho]);
  if (canSign) run("codesign", ["--sign", "-", executable]);
  for (const path of [config, blob, script, chart]) rmSync(path);
}

/** The files of the chart by their path in it. */
function chartFiles(): ChartFiles {
  const paths = readdirSync(CHART, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(CHART, join(entry.parentPath, entry.name)).split(sep).join("/"));
  return Object.fromEntries(paths.toSorted().map((path) => [path, readFileSync(join(CHART, path), "utf8")]));
}

/** The native library that `@napi-rs/keyring` has for this platform. */
function keyringBinding(): string | undefined {
  const require = createRequire(createRequire(join(HERE, "package.json")).resolve(KEYRING));
  for (const suffix of ["", "-gnu", "-musl", "-msvc"]) {
    try {
      const folder = dirname(require.resolve(`${KEYRING}-${target.platform}-${target.arch}${suffix}/package.json`));
      const name = readdirSync(folder).find((file) => file.endsWith(".node"));
      if (name !== undefined) return join(folder, name);
    } catch {
      // Another build of the library.
    }
  }
  return undefined;
}

/** A library can only be loaded from a file, which a single executable does not have beside it. */
function keyringAsAsset(binding: string | undefined): Plugin {
  const path = fileURLToPath(import.meta.resolve("./keyring-asset.ts"));
  return {
    name: "keyring-as-asset",
    setup({ onResolve }) {
      onResolve({ filter: /^@napi-rs\/keyring$/ }, () => (binding === undefined ? { external: true } : { path }));
    },
  };
}

function run(command: string, args: readonly string[]): void {
  const { status } = spawnSync(command, args, { stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) throw new Error(`${command} ${args[0]} ended with ${status}`);
}
