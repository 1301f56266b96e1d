/** Stands in for `@napi-rs/keyring` in the single executable: its library is an asset, and becomes a file to be loaded. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { constants, homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { getRawAsset } from "node:sea";
import { foldersOf } from "../src/settings/folders.ts";
import { findHome } from "../src/settings/home.ts";

/** Name of the asset. */
const ASSET = "keyring.node";

const library = new Uint8Array(getRawAsset(ASSET) as ArrayBuffer);
const loaded: { exports: { AsyncEntry?: unknown } } = { exports: {} };
process.dlopen(loaded, fileWith(library), constants.dlopen.RTLD_NOW);

export const AsyncEntry: unknown = loaded.exports.AsyncEntry;

/** Only this user can write where it is; its name changes with the content, so an update makes a new one. */
function fileWith(content: Uint8Array): string {
  const folder = join(
    foldersOf({ env: process.env, homeDir: findHome({ homedir, tmpdir, uid: process.getuid?.() }).path }).state,
    "native",
  );
  const path = join(folder, `${createHash("sha256").update(content).digest("hex").slice(0, 16)}.node`);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, content, { mode: 0o600 });
  renameSync(temporary, path);
  return path;
}
