import { parse } from "yaml";
import { z } from "zod";

/** Environment variables, as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** One setting that an environment variable may give. */
export interface Setting {
  readonly path: readonly string[];
  /** Upper case, words and levels joined by `_`: `listen.port` is `LISTEN_PORT`. */
  readonly name: string;
  /** Text is taken as it is; anything else is read as YAML, so lists and objects can be given too. */
  readonly text: boolean;
}

/** Every setting of a schema, objects as a whole and each of their fields. */
export function listSettings(schema: z.core.$ZodType, path: readonly string[] = []): readonly Setting[] {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodUnion) return inner.options.flatMap((option) => listSettings(option, path));
  const own = path.length === 0 ? [] : [{ path, name: settingName(path), text: isText(inner) }];
  if (!(inner instanceof z.ZodObject)) return own;
  const fields = Object.entries(inner.shape).flatMap(([key, field]) => listSettings(field, [...path, key]));
  return [...own, ...fields];
}

/**
 * Lays the environment's settings over those of the file.
 *
 * @param prefix such as `CC_`; variables that name no setting are left alone, other programs may own them.
 */
export function applyEnvironment(
  fromFile: unknown,
  settings: readonly Setting[],
  env: Environment,
  prefix: string,
): unknown {
  let merged = fromFile;
  for (const { path, name, text } of settings) {
    const value = env[prefix + name];
    if (value !== undefined) merged = withValue(merged, path, text ? value : readYaml(value));
  }
  return merged;
}

function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodReadonly
  ) {
    return unwrap(schema.unwrap());
  }
  return schema instanceof z.ZodPipe ? unwrap(schema.in) : schema;
}

function isText(schema: z.core.$ZodType): boolean {
  return schema._zod.def.type === "string" || schema._zod.def.type === "enum";
}

function settingName(path: readonly string[]): string {
  return path.map((part) => part.replaceAll(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase()).join("_");
}

function withValue(target: unknown, [key, ...rest]: readonly string[], value: unknown): unknown {
  if (key === undefined) return value;
  const fields = typeof target === "object" && target !== null && !Array.isArray(target) ? { ...target } : {};
  const own = new Map<string, unknown>(Object.entries(fields));
  own.set(key, withValue(own.get(key), rest, value));
  return Object.fromEntries(own);
}

function readYaml(text: string): unknown {
  try {
    return parse(text, { prettyErrors: false });
  } catch {
    return text;
  }
}
