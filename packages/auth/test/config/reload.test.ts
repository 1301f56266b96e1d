import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createReloadingVerifier, type ReloadEvent, SYSTEM_RELOAD_DEPS } from "@cluster-connect/auth";
import { startTestIssuer } from "@cluster-connect/auth/testing";
import { expect, test } from "vitest";
import { AUDIENCE, configuration, expectRejection } from "../fixture.ts";

async function reloadFixture() {
  const folder = await mkdtemp(join(tmpdir(), "auth-reload-"));
  const path = join(folder, "authentication.yaml");
  const [first, second] = await Promise.all([startTestIssuer(), startTestIssuer()]);
  const events: ReloadEvent[] = [];
  const write = async (text: string) => {
    await writeFile(`${path}.new`, text);
    await rename(`${path}.new`, path);
  };
  await write(configuration(first.url));
  const options = { allowInsecureLoopback: true, onEvent: (event: ReloadEvent) => events.push(event) };
  const verifier = await createReloadingVerifier(path, options);
  const signal = AbortSignal.timeout(20_000);
  return {
    path,
    first,
    second,
    events,
    write,
    verifier,
    signal,
    reload: () => verifier.reload({ signal }),
    verify: (token: string) => verifier.verify(token, { signal }),
    [Symbol.asyncDispose]: async () => {
      await Promise.all([first.stop(), second.stop(), rm(folder, { recursive: true })]);
    },
  };
}

test("a changed file takes over, and the issuer that left it is no longer trusted", async () => {
  await using fixture = await reloadFixture();
  const [old, next] = await Promise.all([
    fixture.first.sign({ aud: AUDIENCE }),
    fixture.second.sign({ aud: AUDIENCE }),
  ]);
  await expect(fixture.verify(old)).resolves.toBeDefined();
  await expectRejection(fixture.verify(next), "CC_TOKEN_ISSUER", /iss/);
  await fixture.write(configuration(fixture.second.url));
  await fixture.reload();
  await expect(fixture.verify(next)).resolves.toBeDefined();
  await expectRejection(fixture.verify(old), "CC_TOKEN_ISSUER", /iss/);
  expect(fixture.events).toEqual([{ kind: "reloaded", issuers: [fixture.second.url] }]);
});

const ENTRIES = "jwt:\n";

/** Both issuers in one file. */
function both(first: string, second: string): string {
  return first + (second.split(ENTRIES)[1] ?? "");
}

test.each([
  ["not YAML", "a: ["],
  ["of another kind", "apiVersion: v1\nkind: ConfigMap\n"],
])("a file that is %s changes nothing and is told once", async (_what, text) => {
  await using fixture = await reloadFixture();
  const token = await fixture.first.sign({ aud: AUDIENCE });
  await fixture.write(text);
  await fixture.reload();
  await fixture.reload();
  await expect(fixture.verify(token)).resolves.toBeDefined();
  expect(fixture.events).toMatchObject([{ kind: "kept", error: { code: "CC_CONFIG_INVALID" } }]);
});

test("a wrong entry leaves its issuer as it was, and the others follow the file", async () => {
  await using fixture = await reloadFixture();
  await fixture.write(both(configuration(fixture.first.url), configuration(fixture.second.url)));
  await fixture.reload();
  const [one, two] = await Promise.all([
    fixture.first.sign({ aud: AUDIENCE, sub: "one" }),
    fixture.second.sign({ aud: AUDIENCE, sub: "two" }),
  ]);
  const wrong = configuration(fixture.first.url, "", "username: { claim: sub }");
  const narrowed = `\n    claimValidationRules: [{ claim: sub, requiredValue: other }]`;
  await fixture.write(both(wrong, configuration(fixture.second.url, narrowed)));
  await fixture.reload();
  await fixture.reload();
  await expect(fixture.verify(one)).resolves.toMatchObject({ username: "test:one" });
  await expectRejection(fixture.verify(two), "CC_TOKEN_INVALID", /rule/);
  expect(fixture.events.map(({ kind }) => kind)).toEqual(["reloaded", "reloaded", "kept"]);
  expect(fixture.events[2]).toMatchObject({
    error: { code: "CC_CONFIG_INVALID", message: expect.stringMatching(/jwt\[0\]/) },
  });
  await fixture.write(both(wrong, ""));
  await fixture.reload();
  await expect(fixture.verify(one)).resolves.toBeDefined();
  await expectRejection(fixture.verify(two), "CC_TOKEN_ISSUER", /iss/);
});

test("an issuer that left the file is trusted no longer, though an entry is wrong", async () => {
  await using fixture = await reloadFixture();
  const token = await fixture.first.sign({ aud: AUDIENCE });
  await fixture.write(configuration(fixture.second.url, "", "username: { claim: sub }"));
  await fixture.reload();
  await expectRejection(fixture.verify(token), "CC_TOKEN_ISSUER", /iss/);
  expect(fixture.events.map(({ kind }) => kind)).toEqual(["reloaded", "kept"]);
});

test("what a file takes away counts before anything is fetched, and what it adds as soon as there are keys", async () => {
  await using fixture = await reloadFixture();
  const [old, next] = await Promise.all([
    fixture.first.sign({ aud: AUDIENCE, sub: "old" }),
    fixture.second.sign({ aud: AUDIENCE }),
  ]);
  await fixture.verify(old);
  fixture.first.answers.hang = true;
  fixture.second.answers.hang = true;
  const narrowed = `\n    claimValidationRules: [{ claim: sub, requiredValue: other }]`;
  await fixture.write(both(configuration(fixture.first.url, narrowed), configuration(fixture.second.url)));
  const reloading = fixture.reload();
  await expect
    .poll(
      () =>
        fixture.verify(old).then(
          () => "accepted",
          (error) => error.code,
        ),
      { timeout: 30_000 },
    )
    .toBe("CC_TOKEN_INVALID");
  await reloading;
  await expectRejection(fixture.verify(next), "CC_TOKEN_ISSUER", /iss/);
  expect(fixture.events).toMatchObject([
    { kind: "reloaded", issuers: [fixture.first.url] },
    { kind: "kept", error: { code: "CC_ISSUER_UNREACHABLE" } },
  ]);
  fixture.second.answers.hang = false;
  await fixture.reload();
  await expect(fixture.verify(next)).resolves.toBeDefined();
  await fixture.reload();
  expect(fixture.events.slice(2)).toMatchObject([
    { kind: "reloaded", issuers: [fixture.first.url, fixture.second.url] },
  ]);
});

test("an issuer whose keys come from elsewhere keeps the former ones until then, under the new rules", async () => {
  await using fixture = await reloadFixture();
  const token = await fixture.first.sign({ aud: AUDIENCE, sub: "old" });
  await fixture.verify(token);
  const elsewhere = (rule: string): string =>
    configuration(fixture.first.url, rule).replace(
      ", audiences",
      `, discoveryURL: "${fixture.second.url}/other", audiences`,
    );
  await fixture.write(elsewhere(""));
  await fixture.reload();
  await fixture.reload();
  expect(fixture.events.map(({ kind }) => kind)).toEqual(["reloaded", "kept"]);
  await expect(fixture.verify(token)).resolves.toBeDefined();
  await fixture.write(elsewhere(`\n    claimValidationRules: [{ claim: sub, requiredValue: other }]`));
  await fixture.reload();
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /rule/);
});

test("an issuer that left the file is trusted no longer, though another one cannot be reached", async () => {
  await using fixture = await reloadFixture();
  const [old, other] = await Promise.all([
    fixture.first.sign({ aud: AUDIENCE, sub: "old" }),
    fixture.second.sign({ aud: AUDIENCE, sub: "other" }),
  ]);
  const [, entry = ""] = configuration(fixture.second.url).split("jwt:\n");
  await fixture.write(configuration(fixture.first.url) + entry);
  await fixture.reload();
  await expect(fixture.verify(old)).resolves.toBeDefined();
  await expect(fixture.verify(other)).resolves.toBeDefined();
  await fixture.second.stop();
  const rules = `\n    claimValidationRules: [{ claim: sub, requiredValue: other }]`;
  await fixture.write(configuration(fixture.second.url, rules));
  await fixture.reload();
  await expectRejection(fixture.verify(old), "CC_TOKEN_ISSUER", /iss/);
  await expect(fixture.verify(other)).resolves.toMatchObject({ username: "test:other" });
  await expectRejection(fixture.verify(await fixture.second.sign({ aud: AUDIENCE })), "CC_TOKEN_INVALID", /rule/);
  expect(fixture.events.map(({ kind }) => kind)).toEqual(["reloaded", "reloaded"]);
});

test("a file that changed has the keys of its issuers fetched again", async () => {
  await using fixture = await reloadFixture();
  await fixture.verify(await fixture.first.sign({ aud: AUDIENCE }));
  await fixture.write(`${configuration(fixture.first.url)}# keys were replaced\n`);
  await fixture.reload();
  expect(fixture.first.requests.keys).toBe(2);
});

test("a file that is taken away leaves the old configuration in force", async () => {
  await using fixture = await reloadFixture();
  await rm(fixture.path);
  await fixture.reload();
  await expect(fixture.verify(await fixture.first.sign({ aud: AUDIENCE }))).resolves.toBeDefined();
  expect(fixture.events).toMatchObject([{ kind: "kept", error: { code: "CC_FILE_MISSING" } }]);
});

test("an unchanged file keeps its verifier and its keys", async () => {
  await using fixture = await reloadFixture();
  await fixture.verify(await fixture.first.sign({ aud: AUDIENCE }));
  await fixture.reload();
  await fixture.verify(await fixture.first.sign({ aud: AUDIENCE }));
  expect(fixture.first.requests.keys).toBe(1);
  expect(fixture.events).toEqual([]);
});

test("watching looks again after each interval and ends with its signal", async () => {
  await using fixture = await reloadFixture();
  const stop = new AbortController();
  const waits: number[] = [];
  const verifier = await createReloadingVerifier(
    fixture.path,
    { allowInsecureLoopback: true, intervalMs: 7, onEvent: (event) => fixture.events.push(event) },
    {
      ...SYSTEM_RELOAD_DEPS,
      delay: async (ms, signal) => {
        waits.push(ms);
        if (waits.length === 2) await fixture.write(configuration(fixture.second.url));
        if (waits.length === 3) stop.abort();
        signal.throwIfAborted();
      },
    },
  );
  await verifier.watch({ signal: stop.signal });
  expect(waits).toEqual([7, 7, 7]);
  expect(fixture.events).toEqual([{ kind: "reloaded", issuers: [fixture.second.url] }]);
});

test("the first reading fails loudly", async () => {
  await using fixture = await reloadFixture();
  const missing = `${fixture.path}.missing`;
  await expectRejection(createReloadingVerifier(missing), "CC_FILE_MISSING", /authentication\.yaml\.missing$/);
  await expectRejection(createReloadingVerifier(tmpdir()), "CC_FILE_UNREADABLE", /cannot be read$/);
  await expectRejection(createReloadingVerifier(fixture.path), "CC_CONFIG_INVALID", /must be an https URL$/);
});
