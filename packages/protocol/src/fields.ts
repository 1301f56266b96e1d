import { ConnectError } from "./errors.ts";
import { MAX_JSON_BYTES } from "./limits.ts";

const UTF8 = new TextEncoder();
const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true });

/** Reads one JSON payload field by field; unknown fields are left alone so that later minors may add some. */
export interface Fields {
  /** A string of 1 to `maxLength` characters. */
  string(name: string, maxLength: number): string;
  optionalString(name: string, maxLength: number): string | undefined;
  /** A whole number between two bounds, both included. */
  integer(name: string, min: number, max: number): number;
  optionalInteger(name: string, min: number, max: number): number | undefined;
  /** True or false; the fallback where the field is absent. */
  boolean(name: string, fallback: boolean): boolean;
  requiredBoolean(name: string): boolean;
  object(name: string): Fields | undefined;
  /** A value that its own parser judges; absent fields are undefined. */
  parsed<T>(name: string, parse: (value: unknown) => T): T;
  optionalParsed<T>(name: string, parse: (value: unknown) => T): T | undefined;
}

/**
 * Decodes a JSON payload.
 *
 * @throws ConnectError `CC_FRAME_INVALID` when it is longer than `MAX_JSON_BYTES`, not UTF-8, not JSON or no object.
 */
export function decodeFields(bytes: Uint8Array, what: string): Fields {
  if (bytes.length > MAX_JSON_BYTES) throw new ConnectError("CC_FRAME_INVALID", `${what} is longer than allowed`);
  let value: unknown;
  try {
    value = JSON.parse(STRICT_UTF8.decode(bytes));
  } catch {
    throw new ConnectError("CC_FRAME_INVALID", `${what} is not JSON in UTF-8`);
  }
  return fieldsOf(value, what);
}

/** Encodes a JSON payload; fields that are undefined are left out. */
export function encodeFields(value: object): Uint8Array {
  return UTF8.encode(JSON.stringify(value));
}

function fieldsOf(value: unknown, what: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ConnectError("CC_FRAME_INVALID", `${what} is not an object`);
  }
  const own = new Map<string, unknown>(Object.entries(value));
  const fail = (name: string, wanted: string): never => {
    throw new ConnectError("CC_FRAME_INVALID", `${what}.${name} is not ${wanted}`);
  };
  const fields: Fields = {
    string(name, maxLength) {
      const found = own.get(name);
      if (typeof found === "string" && found.length >= 1 && found.length <= maxLength) return found;
      return fail(name, `a string of 1 to ${maxLength} characters`);
    },
    optionalString: (name, maxLength) => (own.has(name) ? fields.string(name, maxLength) : undefined),
    integer(name, min, max) {
      const found = own.get(name);
      if (typeof found === "number" && Number.isInteger(found) && found >= min && found <= max) return found;
      return fail(name, `a whole number from ${min} to ${max}`);
    },
    optionalInteger: (name, min, max) => (own.has(name) ? fields.integer(name, min, max) : undefined),
    boolean: (name, fallback) => (own.has(name) ? fields.requiredBoolean(name) : fallback),
    requiredBoolean(name) {
      const found = own.get(name);
      return typeof found === "boolean" ? found : fail(name, "true or false");
    },
    object: (name) => (own.has(name) ? fieldsOf(own.get(name), `${what}.${name}`) : undefined),
    parsed(name, parse) {
      try {
        return parse(own.get(name));
      } catch (cause) {
        const reason = cause instanceof ConnectError ? cause.message : "it is not valid";
        throw new ConnectError("CC_FRAME_INVALID", `${what}.${name}: ${reason}`, { cause });
      }
    },
    optionalParsed: (name, parse) => (own.has(name) ? fields.parsed(name, parse) : undefined),
  };
  return fields;
}
