import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { fetchDocument, parseAuthenticationConfiguration, parseBearer } from "@cluster-connect/auth";
import { selfSigned } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { compileExpression } from "../src/cel/expression.ts";
import { compilePattern } from "../src/cel/pattern.ts";
import {
  MAX_CONFIG_BYTES,
  MAX_DOCUMENT_CHARACTERS,
  MAX_EXPRESSION_BYTES,
  MAX_EXPRESSION_COST,
  MAX_EXPRESSION_DEPTH,
  MAX_EXPRESSION_NODES,
  MAX_ISSUER_KEYS,
  MAX_ISSUERS,
  MAX_PATTERN_CHARACTERS,
  MAX_TOKEN_BYTES,
} from "../src/limits.ts";
import { AUDIENCE, createFixture } from "./fixture.ts";

const HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";

const issuers = (count: number): string => {
  const one = (at: number) => ({
    issuer: { url: `https://${at}.example.com`, audiences: ["a"] },
    claimMappings: { username: { claim: "sub", prefix: "" } },
  });
  return `${HEAD}jwt: ${JSON.stringify(Array.from({ length: count }, (_, at) => one(at)))}`;
};
const listOf = (elements: number): string => `[${new Array(elements).fill("1").join(",")}].size() > 0`;
/** The list, its call, the comparison and the number beside it are nodes as well. */
const LIST_NODES = 4;
/** The comparison is one level more. */
const nested = (depth: number): string => `${"[".repeat(depth)}1${"]".repeat(depth)} == claims.a`;

/** Its five nodes may each run once for each of 200,000 turns. */
const evaluateWith = (characters: number): unknown =>
  compileExpression("claims.list.all(x, x)", "claims").evaluate({ list: [], text: "x".repeat(characters) });

interface Bound {
  readonly what: string;
  readonly bound: number;
  readonly value: number;
  readonly use: (size: number) => unknown;
  readonly words: RegExp;
}

const BOUNDS: readonly Bound[] = [
  {
    what: "a bearer token",
    bound: MAX_TOKEN_BYTES,
    value: 65_536,
    use: (size) => parseBearer(`Bearer ${"a".repeat(size)}`),
    words: /more than 65536 bytes/,
  },
  {
    what: "a configuration",
    bound: MAX_CONFIG_BYTES,
    value: 1_048_576,
    use: (size) => parseAuthenticationConfiguration(HEAD.padEnd(size, "#")),
    words: /more than 1048576/,
  },
  {
    what: "the issuers of a configuration",
    bound: MAX_ISSUERS,
    value: 64,
    use: (count) => parseAuthenticationConfiguration(issuers(count)),
    words: /at most 64 entries/,
  },
  {
    what: "an expression",
    bound: MAX_EXPRESSION_BYTES,
    value: 10_240,
    use: (size) => compileExpression("true".padEnd(size), "claims"),
    words: /more than 10240 bytes/,
  },
  {
    what: "the nodes of an expression",
    bound: MAX_EXPRESSION_NODES,
    value: 1_000,
    use: (count) => compileExpression(listOf(count - LIST_NODES), "claims"),
    words: /maxAstNodes/,
  },
  {
    what: "the depth of an expression",
    bound: MAX_EXPRESSION_DEPTH,
    value: 50,
    use: (depth) => compileExpression(nested(depth - 1), "claims"),
    words: /maxDepth/,
  },
  {
    what: "the steps of an expression",
    bound: MAX_EXPRESSION_COST,
    value: 1_000_000,
    use: (cost) => evaluateWith(Math.ceil(cost / 5) - 5),
    words: /costs too much/,
  },
];

test.each(BOUNDS)("$what may have the most that there may be, and not one more", ({ bound, value, use, words }) => {
  expect(bound).toBe(value);
  expect(() => use(value)).not.toThrow();
  expect(() => use(value + 1)).toThrow(words);
});

test("a pattern may have the most characters that there may be, and not one more", () => {
  expect(MAX_PATTERN_CHARACTERS).toBe(1_024);
  expect(compilePattern("a".repeat(1_024))).toBeDefined();
  expect(compilePattern("a".repeat(1_025))).toBeUndefined();
});

test("a document may have the most characters that there may be, and not one more", async () => {
  expect(MAX_DOCUMENT_CHARACTERS).toBe(1_048_576);
  const tls = await selfSigned({ name: "localhost" });
  const server = createServer(tls, (request, response) => void response.end("x".repeat(Number(request.url?.slice(1)))));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const ask = (size: number): Promise<string> =>
    fetchDocument(new URL(`https://localhost:${port}/${size}`), {
      signal: AbortSignal.timeout(60_000),
      certificateAuthority: tls.cert,
    });
  await expect(ask(1_048_576)).resolves.toHaveLength(1_048_576);
  await expect(ask(1_048_577)).rejects.toThrow(/more than 1048576 characters/);
});

test("an issuer may have the most keys that there may be, and not one more", async () => {
  expect(MAX_ISSUER_KEYS).toBe(256);
  const filled = async (count: number) => {
    const fixture = await createFixture();
    onTestFinished(() => fixture[Symbol.asyncDispose]());
    const own = fixture.issuer.publicKeys();
    const others = Array.from({ length: count - own.length }, (_, at) => ({ kty: "oct", kid: `other-${at}` }));
    fixture.issuer.answers.keys = { keys: [...others, ...own] };
    return await fixture.verify(await fixture.issuer.sign({ aud: AUDIENCE, exp: 4_000_000_000 }));
  };
  await expect(filled(256)).resolves.toBeDefined();
  await expect(filled(257)).rejects.toMatchObject({ code: "CC_ISSUER_UNREACHABLE" });
});
