/**
 * Packs the program: `pack.ts [FOLDER]` into a few files that Node runs without packages beside them,
 * `pack.ts --binary [FOLDER]` into one executable for this platform (a Node single executable application).
 */
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type BuildOptions, build } from "esbuild";

const HERE = fileURLToPath(new URL("..", import.meta.url));
const NAME = "cluster-connect";
/** Where Node looks for a blob in its own executable. */
const FUSE = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";

const COMMON: BuildOptions = {
  absWorkingDir: HERE,
  bundle: true,
  platform: "node",
  target: "node24",
  conditions: ["source"],
  external: ["bufferutil"],
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "linked",
};

const { values, positionals } = parseArgs({ options: { binary: { type: "boolean" } }, allowPositionals: true });
const folder = resolve(positionals[0] ?? join(HERE, "dist", values.binary ? "binary" : "pack"));
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
if (values.binary) await packBinary();
else await packFiles();

/** Each command's code stays a file of its own: what is not needed is not read. */
async function packFiles(): Promise<void> {
  await build({
    ...COMMON,
    entryPoints: { [NAME]: "src/main.ts" },
    outdir: folder,
    format: "esm",
    splitting: true,
    outExtension: { ".js": ".mjs" },
    chunkNames: "chunks/[hash]",
    // Some dependencies are CommonJS and ask for Node's own modules.
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  });
  chmodSync(join(folder, `${NAME}.mjs`), 0o755);
}

async function packBinary(): Promise<void> {
  const script = join(folder, `${NAME}.cjs`);
  const blob = join(folder, `${NAME}.blob`);
  const config = join(folder, "sea.json");
  const executable = join(folder, process.platform === "win32" ? `${NAME}.exe` : NAME);
  await build({ ...COMMON, entryPoints: ["src/main.ts"], outfile: script, format: "cjs" });
  writeFileSync(config, JSON.stringify({ main: script, output: blob, disableExperimentalSEAWarning: true }));
  run(process.execPath, ["--experimental-sea-config", config]);
  copyFileSync(process.execPath, executable);
  chmodSync(executable, 0o755);
  // On macOS a signature that no longer fits keeps the program from starting.
  if (process.platform === "darwin") run("codesign", ["--remove-signature", executable]);
  const postject = fileURLToPath(import.meta.resolve("postject")).replace(/api\.js$/, "cli.js");
  const macho = process.platform === "darwin" ? ["--macho-segment-name", "NODE_SEA"] : [];
  run(process.execPath, [postject, executable, "NODE_SEA_BLOB", blob, "--sentinel-fuse", FUSE, ...macho]);
  if (process.platform === "darwin") run("codesign", ["--sign", "-", executable]);
  for (const path of [config, blob, script]) rmSync(path);
}

function run(command: string, args: readonly string[]): void {
  const { status } = spawnSync(command, args, { stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) throw new Error(`${command} ${args[0]} ended with ${status}`);
}
