import { isObject } from "../json.ts";

/** Everything wrong with a file, each with its path, in the order it was found. */
export interface Problems {
  readonly list: readonly string[];
  /** The same problem of the same path is kept once. */
  add(path: string, message: string): void;
}

/** An empty list of problems. */
export function createProblems(): Problems {
  const list: string[] = [];
  return {
    list,
    add(path, message) {
      const problem = path === "" ? message : `${path}: ${message}`;
      if (!list.includes(problem)) list.push(problem);
    },
  };
}

/** Reads the fields of one object strictly: a fault becomes a problem, and reading goes on. */
export interface ConfigReader {
  readonly path: string;
  /** undefined when the field is missing, null or no string. */
  text(name: string): string | undefined;
  flag(name: string): boolean | undefined;
  texts(name: string): readonly string[];
  object(name: string): ConfigReader | undefined;
  objects(name: string): readonly ConfigReader[];
  /** Notes a problem of the object itself or of one of its fields. */
  fail(message: string, name?: string): void;
  /** Notes each field that was not read. Call it last. */
  end(): void;
}

/** @param value the file's content at `path`; anything but an object is a problem and reads as an empty one. */
export function createConfigReader(value: unknown, path: string, problems: Problems): ConfigReader {
  if (!isObject(value)) problems.add(path, "must be an object");
  const fields = isObject(value) ? value : {};
  const seen = new Set<string>();
  const at = (name: string): string => (path === "" ? name : `${path}.${name}`);

  function take(name: string): unknown {
    seen.add(name);
    return Object.hasOwn(fields, name) ? (fields[name] ?? undefined) : undefined;
  }

  function list(name: string): readonly unknown[] {
    const found = take(name);
    if (found === undefined || Array.isArray(found)) return found ?? [];
    problems.add(at(name), "must be a list");
    return [];
  }

  return {
    path,
    text(name) {
      const found = take(name);
      if (found === undefined || typeof found === "string") return found;
      problems.add(at(name), "must be a string");
      return undefined;
    },
    flag(name) {
      const found = take(name);
      if (found === undefined || typeof found === "boolean") return found;
      problems.add(at(name), "must be true or false");
      return undefined;
    },
    texts: (name) =>
      list(name).flatMap((entry, index) => {
        if (typeof entry === "string") return [entry];
        problems.add(`${at(name)}[${index}]`, "must be a string");
        return [];
      }),
    object(name) {
      const found = take(name);
      return found === undefined ? undefined : createConfigReader(found, at(name), problems);
    },
    objects: (name) => list(name).map((entry, index) => createConfigReader(entry, `${at(name)}[${index}]`, problems)),
    fail(message, name) {
      problems.add(name === undefined ? path : at(name), message);
    },
    end() {
      for (const name of Object.keys(fields)) if (!seen.has(name)) problems.add(at(name), "is not a known field");
    },
  };
}
