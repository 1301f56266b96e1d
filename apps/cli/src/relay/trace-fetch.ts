import type { CliDeps } from "../deps.ts";

/** Tells each request on standard error: method, address without its query, status and time; never a header or a body. */
export function traceFetch(deps: Pick<CliDeps, "fetch" | "stderr">): typeof fetch {
  return async (input, init) => {
    const { method, url } = describeRequest(input, init);
    const startedAt = performance.now();
    const writeEnd = (end: string): void => {
      deps.stderr.write(`trace: ${method} ${url} ${end} after ${Math.round(performance.now() - startedAt)} ms\n`);
    };
    try {
      const response = await deps.fetch(input, init);
      writeEnd(String(response.status));
      return response;
    } catch (error) {
      writeEnd("failed");
      throw error;
    }
  };
}

function describeRequest(
  input: Parameters<typeof fetch>[0],
  init: RequestInit | undefined,
): { method: string; url: string } {
  const method = init?.method ?? (input instanceof Request ? input.method : "GET");
  const { origin, pathname } = new URL(input instanceof Request ? input.url : input);
  return { method, url: `${origin}${pathname}` };
}
