import type { Fixture } from "./fixture.ts";
import { opsToken } from "./fixture.ts";

export interface AdminAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Asks the relay's API as a user; `root` is the fixture's administrator. */
export async function ask(
  fixture: Fixture,
  method: string,
  path: string,
  options: { readonly body?: unknown; readonly as?: string | undefined } = {},
): Promise<AdminAnswer> {
  const as = Object.hasOwn(options, "as") ? options.as : "root";
  const token = as === undefined ? undefined : await opsToken(fixture, { sub: as });
  const response = await fetch(new URL(path, fixture.url), {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(options.body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    signal: AbortSignal.timeout(20_000),
  });
  const text = await response.text();
  return { status: response.status, body: text.startsWith("{") ? JSON.parse(text) : { text } };
}
