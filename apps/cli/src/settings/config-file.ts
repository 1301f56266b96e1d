import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { parseDocument, stringify } from "yaml";
import { writePrivateFile } from "../files/private-file.ts";
import { readTextFileIfAny } from "../files/text-file.ts";
import type { Folders } from "./folders.ts";

/** Settings that `login` remembers, so that later commands need no flags. */
export interface SavedSettings {
  readonly relay?: string;
  readonly caFile?: string;
}

const KEYS: readonly (keyof SavedSettings)[] = ["relay", "caFile"];

/** Path of the settings' file, which people may edit. */
function configPath(folders: Folders): string {
  return join(folders.config, "config.yaml");
}

/**
 * Reads the saved settings; none when there is no file.
 *
 * @throws ConnectError `CC_CONFIG_INVALID` with every problem, `CC_FILE_UNREADABLE`.
 */
export async function readSavedSettings(folders: Folders): Promise<SavedSettings> {
  const path = configPath(folders);
  const text = await readTextFileIfAny(path);
  if (text === undefined) return {};
  const document = parseDocument(text, { prettyErrors: false });
  const value: unknown = document.errors.length > 0 ? undefined : document.toJS();
  if (value === null) return {};
  if (typeof value !== "object" || value === undefined || Array.isArray(value)) {
    throw new ConnectError("CC_CONFIG_INVALID", `${path} is not a YAML map`);
  }
  const problems: string[] = [];
  const settings: { relay?: string; caFile?: string } = {};
  for (const [key, setting] of Object.entries(value)) {
    const known = KEYS.find((name) => name === key);
    if (known === undefined) problems.push(`${key}: no such setting`);
    else if (typeof setting !== "string") problems.push(`${key}: expected text`);
    else settings[known] = setting;
  }
  if (problems.length > 0) throw new ConnectError("CC_CONFIG_INVALID", `${path}: ${problems.join("; ")}`);
  return settings;
}

/** Replaces the named settings and keeps the others. */
export async function saveSettings(folders: Folders, changed: SavedSettings): Promise<void> {
  const settings = { ...(await readSavedSettings(folders)), ...changed };
  await writePrivateFile(configPath(folders), stringify(settings));
}
