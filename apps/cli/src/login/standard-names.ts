import { parseJson } from "../json.ts";

const NUMBERS: ReadonlySet<string> = new Set(["expires_in", "interval"]);

/**
 * An issuer's answer as the standards have it: Google says `verification_url` for `verification_uri`, and some issuers
 * write numbers as text.
 */
export async function withStandardNames(response: Response): Promise<Response> {
  if (!response.ok || !(response.headers.get("content-type") ?? "").includes("json")) return response;
  const text = await response.text();
  const { status, headers } = response;
  const value = parseJson(text);
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return new Response(isObject ? JSON.stringify(standardized(value)) : text, { status, headers: bodyless(headers) });
}

function standardized(answer: object): Readonly<Record<string, unknown>> {
  const fields = Object.entries(answer).map(([name, value]): readonly [string, unknown] => {
    const isNumber = NUMBERS.has(name) && typeof value === "string" && /^\d{1,12}$/.test(value);
    return [name, isNumber ? Number(value) : value];
  });
  const all: Readonly<Record<string, unknown>> = Object.fromEntries(fields);
  const { verification_url: url, verification_uri: uri } = all;
  return uri === undefined && url !== undefined ? { ...all, verification_uri: url } : all;
}

/** Headers about the body as it came do not fit the one that is handed on. */
function bodyless(headers: Headers): Headers {
  const kept = new Headers(headers);
  for (const name of ["content-length", "content-encoding", "transfer-encoding"]) kept.delete(name);
  return kept;
}
