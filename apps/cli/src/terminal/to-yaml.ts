import { stringify } from "yaml";

/** A value as YAML, a line for each scalar however long it is. A file of its own, to be loaded only where it is needed. */
export function toYaml(value: unknown): string {
  return stringify(value, { lineWidth: 0 });
}
