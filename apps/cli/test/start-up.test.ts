import { fileURLToPath } from "node:url";
import { build, type Metafile } from "esbuild";
import { expect, test } from "vitest";

const HERE = fileURLToPath(new URL("..", import.meta.url));
/** Files that only the commands that need them load: each costs more than everything else together. */
const LARGE = /\/node_modules\/(?!\.pnpm)(?!commander\/).*|packages\/(framing|auth|service)\//;

/** Every file that is loaded before a command of its own accord loads more. */
function loadedAtOnce(inputs: Metafile["inputs"], entry: string): readonly string[] {
  const found = new Set([entry]);
  for (const path of found) {
    for (const { kind, path: next, external } of inputs[path]?.imports ?? []) {
      if (kind !== "dynamic-import" && external !== true) found.add(next);
    }
  }
  return [...found];
}

test("help and a token that is still good are shown without loading a large library", async () => {
  const { metafile } = await build({
    absWorkingDir: HERE,
    bundle: true,
    platform: "node",
    format: "esm",
    splitting: true,
    write: false,
    outdir: "unused",
    metafile: true,
    conditions: ["source"],
    external: ["@napi-rs/keyring"],
    entryPoints: ["src/main.ts"],
    logLevel: "error",
  });
  for (const entry of ["src/main.ts", "src/commands/login/credential.ts"]) {
    const loaded = loadedAtOnce(metafile.inputs, entry);
    expect(loaded.length).toBeGreaterThan(20);
    expect(loaded.filter((path) => LARGE.test(path))).toEqual([]);
  }
  // It sees what it looks for: signing in needs such a library.
  expect(loadedAtOnce(metafile.inputs, "src/login/entra.ts").some((path) => LARGE.test(path))).toBe(true);
});
