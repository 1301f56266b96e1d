/**
 * Packs the program: `pack.ts [FOLDER]` into a few files that Node runs without packages beside them,
 * `pack.ts --binary [FOLDER]` into one executable for this platform (a Node single executable application).
 */
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type BuildOptions, build, type Plugin } from "esbuild";

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
    // The key store's binding for this platform; on others the program does without.
    loader: { ".node": "copy" },
    assetNames: "chunks/[name]-[hash]",
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  });
  chmodSync(join(folder, `${NAME}.mjs`), 0o755);
}

async function packBinary(): Promise<void> {
  const script = join(folder, `${NAME}.cjs`);
  const blob = join(folder, `${NAME}.blob`);
  const config = join(folder, "sea.json");
  const executable = join(folder, process.platform === "win32" ? `${NAME}.exe` : NAME);
  const binding = keyringBinding();
  await build({
    ...COMMON,
    entryPoints: ["src/main.ts"],
    outfile: script,
    format: "cjs",
    plugins: [keyringAsAsset(binding)],
    // What asks where its own file is finds that there is none.
    define: { "import.meta.url": '""' },
  });
  const assets = binding === undefined ? {} : { "keyring.node": binding };
  const sea = { main: script, output: blob, disableExperimentalSEAWarning: true, useCodeCache: true, assets };
  writeFileSync(config, JSON.stringify(sea));
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

/** The native library that `@napi-rs/keyring` has for this platform. */
function keyringBinding(): string | undefined {
  const require = createRequire(createRequire(join(HERE, "package.json")).resolve("@napi-rs/keyring"));
  for (const suffix of ["", "-gnu", "-musl", "-msvc"]) {
    try {
      const folder = dirname(
        require.resolve(`@napi-rs/keyring-${process.platform}-${process.arch}${suffix}/package.json`),
      );
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
