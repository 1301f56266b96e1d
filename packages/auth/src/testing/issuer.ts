import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import { CompactSign, type JWSHeaderParameters } from "jose";
import type { SignatureAlgorithm } from "../tokens/issuers.ts";
import { portOf } from "./port-of.ts";
import { createSigningKey, type SigningKey } from "./signing-key.ts";

export interface TestIssuerOptions {
  /** Algorithms to make a key for; the first is the default. */
  readonly algorithms?: readonly SignatureAlgorithm[];
  /** Port to listen on; 0, the default, takes a free one. */
  readonly port?: number;
}

export interface SignOptions {
  readonly alg?: SignatureAlgorithm;
  /** Put into the header, over what is there: `kid`, `crit`, `jku`… */
  readonly header?: Readonly<Record<string, unknown>>;
}

/** An issuer with real keys behind real HTTP on loopback. */
export interface TestIssuer {
  /** Its `iss`, an http address on 127.0.0.1. */
  readonly url: string;
  /** Counts of requests since it was made. */
  readonly requests: { discovery: number; keys: number; other: number };
  /** Answers that the test may change: it decides how an issuer misbehaves. */
  readonly answers: { discovery?: unknown; keys?: unknown; status?: number; location?: string; hang?: boolean };
  /** A token with exactly these claims over the defaults `iss`, `sub`, `iat` and `exp` in an hour; undefined removes. */
  sign(claims: Readonly<Record<string, unknown>>, options?: SignOptions): Promise<string>;
  /** A new key for each algorithm; the old public keys are published on unless `forget`. */
  rotate(options?: { readonly forget?: boolean }): Promise<void>;
  /** The published key set. */
  publicKeys(): readonly Readonly<Record<string, unknown>>[];
  /** Closes the port, keeps the keys; `start` opens the same port again. */
  stop(): Promise<void>;
  start(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts an issuer that publishes a discovery document and a key set. */
export async function startTestIssuer(options: TestIssuerOptions = {}): Promise<TestIssuer> {
  const algorithms = options.algorithms ?? ["ES256"];
  const requests = { discovery: 0, keys: 0, other: 0 };
  const answers: TestIssuer["answers"] = {};
  let current = await Promise.all(algorithms.map(createSigningKey));
  let published: readonly SigningKey[] = current;
  let server = await listenOnLoopback(options.port ?? 0, answer);
  const port = portOf(server);
  const url = `http://127.0.0.1:${port}`;

  function answer(path: string, response: ServerResponse): void {
    if (path === "/.well-known/openid-configuration") {
      requests.discovery += 1;
      reply(response, answers.discovery ?? { issuer: url, jwks_uri: `${url}/keys` });
    } else if (path === "/keys") {
      requests.keys += 1;
      reply(response, answers.keys ?? { keys: published.map((key) => key.jwk) });
    } else {
      requests.other += 1;
      response.writeHead(404).end();
    }
  }

  function reply(response: ServerResponse, body: unknown): void {
    if (answers.hang === true) return;
    const location = answers.location === undefined ? {} : { location: answers.location };
    response.writeHead(answers.status ?? 200, { "content-type": "application/json", ...location });
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  }

  async function stop(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  }

  return {
    url,
    requests,
    answers,
    async sign(claims, { alg, header } = {}) {
      const key = current.find((candidate) => alg === undefined || candidate.alg === alg);
      if (key === undefined) throw new Error(`The test issuer has no key for ${alg}`);
      const now = Math.floor(Date.now() / 1_000);
      const payload = { iss: url, sub: "subject", iat: now, exp: now + 3_600, ...claims };
      const protectedHeader: JWSHeaderParameters & { alg: string } = { alg: key.alg, kid: key.jwk.kid, ...header };
      return new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
        .setProtectedHeader(protectedHeader)
        .sign(key.privateKey, { crit: { "urn:example:unknown": true } });
    },
    async rotate({ forget = false } = {}) {
      current = await Promise.all(algorithms.map(createSigningKey));
      published = forget ? current : [...current, ...published];
    },
    publicKeys: () => published.map((key) => ({ ...key.jwk })),
    stop,
    async start() {
      if (!server.listening) server = await listenOnLoopback(port, answer);
    },
    [Symbol.asyncDispose]: stop,
  };
}

async function listenOnLoopback(
  port: number,
  answer: (path: string, response: ServerResponse) => void,
): Promise<Server> {
  const server = createServer((request, response) => answer(request.url ?? "", response));
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}
