import { readFile } from "node:fs/promises";
import { systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { parseDocument } from "yaml";
import type { z } from "zod";
import { applyEnvironment, type Environment, listSettings } from "./environment.ts";
import { describeProblems } from "./problems.ts";

/** Where a daemon's settings come from; the environment wins over the file. */
export interface ConfigSource {
  /** Path of a YAML file; without one, `<prefix>CONFIG` names it, and without that there is only the environment. */
  readonly file?: string | undefined;
  readonly env: Environment;
  /** Prefix of the variables, `CC_` unless told otherwise. */
  readonly prefix?: string;
}

const DEFAULT_PREFIX = "CC_";
const MAX_CONFIG_BYTES = 1_048_576;

/**
 * Reads settings from a YAML file and the environment and checks them against a schema.
 *
 * Use `z.strictObject` in schemas, so that a misspelt setting is an error.
 *
 * @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE` for the file, `CC_CONFIG_INVALID` with every problem
 *   in one line: the setting's path and what was expected, never its value.
 */
export async function loadConfig<S extends z.ZodType>(schema: S, source: ConfigSource): Promise<z.output<S>> {
  const prefix = source.prefix ?? DEFAULT_PREFIX;
  const file = source.file ?? source.env[`${prefix}CONFIG`];
  const fromFile = file === undefined ? {} : parseConfigText(await readConfigFile(file), file);
  const settings = listSettings(schema);
  const merged = applyEnvironment(fromFile, settings, source.env, prefix);
  const result = schema.safeParse(merged ?? {});
  if (result.success) return result.data;
  const given = settings.filter(({ name }) => source.env[prefix + name] !== undefined);
  const variables = new Map(given.map(({ path, name }) => [path.join("."), prefix + name]));
  const problems = describeProblems(result.error, variables);
  throw invalid(`The settings of ${file ?? "the environment"} are not valid: ${problems.join("; ")}`);
}

/**
 * Reads a file that a setting names.
 *
 * @param setting the setting's path, for the message.
 * @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE` naming the setting and the file.
 */
export async function readSettingFile(setting: string, file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw fileError(`${setting}: ${file}`, cause);
  }
}

async function readConfigFile(file: string): Promise<string> {
  try {
    const bytes = await readFile(file);
    if (bytes.length > MAX_CONFIG_BYTES) throw invalid(`${file} is larger than ${MAX_CONFIG_BYTES} bytes`);
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw cause instanceof ConnectError ? cause : fileError(file, cause);
  }
}

/**
 * Reads one YAML document.
 *
 * @param file its path, for the message.
 * @throws ConnectError `CC_CONFIG_INVALID` with every problem in one line.
 */
export function parseConfigText(text: string, file: string): unknown {
  const document = parseDocument(text, { prettyErrors: false });
  const problems = document.errors.map(({ code, pos }) => `line ${lineOf(text, pos[0])}: ${wordsOf(code)}`);
  if (problems.length > 0) throw invalid(`${file} is not YAML: ${problems.join("; ")}`);
  try {
    return document.toJS() ?? {};
  } catch (cause) {
    throw invalid(`${file} is not YAML: an alias in it cannot be resolved`, cause);
  }
}

function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

function wordsOf(code: string): string {
  return code.toLowerCase().replaceAll("_", " ");
}

function fileError(what: string, cause: unknown): ConnectError {
  const code = systemCode(cause);
  if (code === "ENOENT") return new ConnectError("CC_FILE_MISSING", `${what} does not exist`, { cause });
  const reason = code === "" || code.startsWith("ERR_") ? "it is not text in UTF-8" : code;
  return new ConnectError("CC_FILE_UNREADABLE", `${what} cannot be read: ${reason}`, { cause });
}

function invalid(message: string, cause?: unknown): ConnectError {
  return new ConnectError("CC_CONFIG_INVALID", message, { cause });
}
