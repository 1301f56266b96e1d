import { expect } from "vitest";
import type { RunResult } from "../../../src/process/run-to-end.ts";

/** One way to the kube-apiserver. */
export interface Route {
  /** For objects of this route alone. */
  readonly name: "direct" | "tunnel";
  readonly env: Readonly<Record<string, string>>;
  run(args: readonly string[], input?: string): Promise<RunResult>;
}

/** An act that is done once on each route. */
export type OnRoute = (route: Route) => Promise<readonly RunResult[]>;

/**
 * Words of kubectl's own log, which it writes now and then: about its WebSocket, on either route, and about a watch over
 * HTTP/1.1 that its own `--timeout` ends. Straight at a kube-apiserver with `DISABLE_HTTP2=1` it writes the latter as well.
 */
const OWN_LOG =
  /^[EWI]\d{4} [^\n]* (?:websocket\.go:\d+\]|reflector\.go:\d+\][^\n]* (?:very short watch|context deadline exceeded))[^\n]*\n/gm;

/** Does the same straight at the kube-apiserver and through the tunnel, and expects the same codes and texts. */
export async function expectSame(routes: readonly Route[], act: OnRoute): Promise<readonly RunResult[]> {
  const [direct = [], tunnel = []] = await Promise.all(
    routes.map(async (route) => {
      const results = await act(route);
      const plain = (text: string): string => text.replaceAll(route.name, "ROUTE").replaceAll(OWN_LOG, "");
      return results.map(({ code, stdout, stderr }) => ({ code, stdout: plain(stdout), stderr: plain(stderr) }));
    }),
  );
  expect(tunnel).toEqual(direct);
  return tunnel;
}
