import { Agent, request } from "node:https";
import type { Socket } from "node:net";
import { buffer } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { pollUntil } from "../../src/process/poll.ts";
import type { Cli } from "../../src/stack/cli.ts";
import { NO_END, useStack } from "../support/stack.ts";

const LIFE_SECONDS = 20;
const suite = useStack(async () => ({ accessTokenSeconds: LIFE_SECONDS }));

interface Credential {
  readonly token: string;
  /** When the token itself ends, milliseconds. */
  readonly expiresAt: number;
}

async function credentialOf(cli: Cli): Promise<Credential | undefined> {
  const { code, stdout } = await cli.run(["credential"]);
  if (code !== 0) return undefined;
  const { token }: { readonly token: string } = JSON.parse(stdout).status;
  const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8"));
  return { token, expiresAt: claims.exp * 1_000 };
}

/** Requests over one TCP connection to the local port: one stream from the CLI to the auth proxy. */
function oneStream(port: number): (token: string) => Promise<{ readonly status: number; readonly socket: Socket }> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
  onTestFinished(() => agent.destroy());
  return (token) =>
    new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${token}` };
      const asked = request({ host: "127.0.0.1", port, path: "/version", agent, headers }, (response) => {
        const { socket, statusCode = 0 } = response;
        buffer(response).then(() => resolve({ status: statusCode, socket }), reject);
      });
      asked.once("error", reject);
      asked.end();
    });
}

test("a token is renewed ahead of its end, and a stream outlives the tokens it began with", async () => {
  const { cli, proxy } = await suite().signIn("viewer");
  const send = oneStream(proxy.port);
  const first = await credentialOf(cli);
  const before = await send(first?.token ?? "");
  expect(before.status).toBe(200);
  // Only the proxy itself asks for a token meanwhile.
  const next = await pollUntil(
    async () => {
      if (Date.now() < (first?.expiresAt ?? 0)) return undefined;
      return await credentialOf(cli);
    },
    { signal: NO_END },
  );
  expect(next.token).not.toBe(first?.token);
  const after = await send(next.token);
  expect(after.status).toBe(200);
  expect(after.socket === before.socket).toBe(true);
  expect(await proxy.screen()).not.toContain("CC_TOKEN_EXPIRED");
});

test("an issuer that fails until tokens have ended breaks no stream: it goes on when the issuer is back", async () => {
  const { stack, signIn } = suite();
  const { cli, proxy } = await signIn("admin");
  const send = oneStream(proxy.port);
  const first = await credentialOf(cli);
  const before = await send(first?.token ?? "");
  expect(before.status).toBe(200);
  // From now on it answers with status 503, until it is told again.
  stack.issuer.program.signal("SIGUSR2");
  const failed = await pollUntil(
    async () => {
      const { code, stderr } = await cli.run(["credential"]);
      return code === 0 ? undefined : stderr;
    },
    { signal: NO_END },
  );
  // Its last two seconds do not count: an answer's way is part of a token's life.
  expect(Date.now()).toBeGreaterThan((first?.expiresAt ?? 0) - 2_000);
  expect(failed).toMatch(/\(CC_ISSUER_UNREACHABLE\)/);
  stack.issuer.program.signal("SIGUSR2");
  const next = await pollUntil(() => credentialOf(cli), { signal: NO_END });
  const after = await send(next.token);
  expect(after.status).toBe(200);
  expect(after.socket === before.socket).toBe(true);
});
