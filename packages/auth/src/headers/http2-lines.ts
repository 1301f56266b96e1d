import { ConnectError } from "@cluster-connect/protocol";
import type { HeaderLines } from "./headers.ts";

/** `node:http2` packs all lines into one text with a NUL between its parts, and does not look into values. */
const SEPARATORS: readonly string[] = ["\0", "\r", "\n"];

/**
 * Lines as the flat list that `node:http2` writes.
 *
 * @throws ConnectError `CC_REQUEST_REFUSED` for a line that would be written as two.
 */
export function toHttp2Headers(lines: HeaderLines): string[] {
  for (const [name, value] of lines) {
    if (SEPARATORS.some((character) => name.includes(character) || value.includes(character))) {
      throw new ConnectError("CC_REQUEST_REFUSED", "A header line has a character that ends lines");
    }
  }
  return lines.flat();
}

/** Lines as the object that `node:http2` takes for trailers. @throws as `toHttp2Headers`. */
export function toHttp2Trailers(lines: HeaderLines): Record<string, string[]> {
  toHttp2Headers(lines);
  const trailers: Record<string, string[]> = Object.create(null);
  for (const [name, value] of lines) {
    const values = trailers[name.toLowerCase()] ?? [];
    values.push(value);
    trailers[name.toLowerCase()] = values;
  }
  return trailers;
}
