import { once } from "node:events";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { temporaryFolder } from "@cluster-connect/testkit";
import { describe, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { type TestCli, testCli } from "../../support/cli.ts";
import { unsignedToken } from "../../support/tokens.ts";

const DOCUMENT = z.object({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) });
const PATHS = Object.entries(
  DOCUMENT.parse(JSON.parse(readFileSync(new URL("../../../../../docs/openapi.json", import.meta.url), "utf8"))).paths,
).flatMap(([path, operations]) =>
  Object.keys(operations).map((method) => ({
    method: method.toUpperCase(),
    path: new RegExp(`^${path.replaceAll(".", "\\.").replaceAll(/\{[a-z]+\}/g, "[^/?]+")}(\\?.*)?$`),
  })),
);

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
}

/** A relay that gives one answer after the other, and a command line that asks it. */
async function stage(...answers: readonly { readonly status?: number; readonly body: unknown }[]) {
  const asked: Asked[] = [];
  const server = createServer(async (request, response) => {
    const { status = 200, body } = answers[asked.length] ?? { status: 500, body: {} };
    const sent = await text(request);
    const { method = "", url: path = "" } = request;
    expect(request.headers.authorization).toMatch(/^Bearer /);
    asked.push({ method, path, body: sent === "" ? undefined : JSON.parse(sent) });
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const home = await temporaryFolder();
  const env = {
    CLUSTER_CONNECT_RELAY: `http://127.0.0.1:${address.port}`,
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken(),
  };
  const cli: TestCli = testCli(home, { env });
  onTestFinished(() => {
    for (const { method, path } of asked) {
      expect([method, path, PATHS.some((known) => known.method === method && known.path.test(path))]).toEqual([
        method,
        path,
        true,
      ]);
    }
  });
  return { cli, asked, home };
}

const GRANT = { id: "api/abc", source: "api", clusterSelector: "env=prod", groups: ["dev"] };
const CLUSTER = {
  id: "prod",
  labels: { env: "prod", old: "x" },
  disabled: false,
  status: "Connected",
  reason: null,
  lastSeenSeconds: 0,
  validKeys: 1,
  agents: [{ instanceId: "a", relayId: "r", keyId: "k" }],
};
const print = (byte: string): string => Array(32).fill(byte).join(":");
const DONE = { body: { done: true } };
const REVOKED = { body: { done: true, was: "active", dropped: [], left: [] } };

describe("grants", () => {
  test("are listed, all pages", async () => {
    const { cli, asked } = await stage(
      { body: { items: [GRANT], next: "api/abc" } },
      { body: { items: [{ ...GRANT, id: "file/x", condition: "true", upstreams: ["db", "metrics"] }], next: null } },
    );
    expect(await cli.run("admin", "grants", "list")).toBe(0);
    expect(cli.out()).toBe(
      "ID        CLUSTERS   UPSTREAMS    WHO                 EXPIRES\n" +
        "api/abc   env=prod   kubernetes   group dev           never\n" +
        "file/x    env=prod   db,metrics   group dev if true   never\n",
    );
    expect(asked[1]?.path).toBe("/v1/admin/grants?limit=1000&after=api%2Fabc");
  });

  test("are added by flags, and removed by id", async () => {
    const { cli, asked } = await stage({ body: GRANT }, DONE);
    const flags = [
      "--selector",
      "env=prod",
      "--group",
      "dev",
      "--group",
      "ops",
      "--issuer",
      "https://i",
      "--upstream",
      "db",
    ];
    expect(await cli.run("admin", "grants", "add", ...flags, "--condition", "true", "--expires", "1h")).toBe(0);
    expect(asked[0]?.body).toEqual({
      clusterSelector: "env=prod",
      upstreams: ["db"],
      groups: ["dev", "ops"],
      issuer: "https://i",
      condition: "true",
      expiresAt: expect.stringMatching(/Z$/),
    });
    expect(cli.out()).toBe("api/abc\n");
    expect(await cli.run("admin", "grants", "remove", "api/abc")).toBe(0);
    expect(asked[1]).toMatchObject({ method: "DELETE", path: "/v1/admin/grants/api%2Fabc" });
  });

  test("are shown as JSON when they are added", async () => {
    const { cli } = await stage({ body: GRANT });
    expect(await cli.run("admin", "grants", "add", "-n", "prod", "--user", "jane", "-o", "json")).toBe(0);
    expect(JSON.parse(cli.out())).toMatchObject({ id: "api/abc" });
  });

  test("need clusters and somebody, by the names of the flags", async () => {
    const { cli, asked } = await stage();
    const wrong = [[], ["-n", "prod", "--selector", "env=prod", "--user", "jane"]];
    for (const flags of wrong) {
      expect(await cli.run("admin", "grants", "add", ...flags)).toBe(2);
      expect(cli.err()).toContain("error: Say for which clusters: either -n or --selector (CC_USAGE)\n");
    }
    expect(await cli.run("admin", "grants", "add", "-n", "prod")).toBe(2);
    expect(cli.err()).toContain("Say for whom: --user, --group, --service-principal or --condition (CC_USAGE)\n");
    expect(asked).toEqual([]);
  });

  test("are explained for anybody, and the exit code says whether they allow it", async () => {
    const near = [{ grant: "api/abc", lack: "expired", text: "it has expired" }];
    const denied = { cluster: "prod", allowed: false, reason: "the grant has expired", grant: null, near };
    const allowed = { cluster: "test", allowed: true, reason: "granted to user jane", grant: "file/x", near: [] };
    const { cli, asked, home } = await stage({ body: denied }, { body: allowed });
    const file = join(home, "claims.json");
    await writeFile(file, '{"sub":"jane"}');
    const flags = ["-n", "prod", "-n", "test", "--user", "jane", "--claims-file", file, "--upstream", "db"];
    expect(await cli.run("admin", "grants", "check", ...flags)).toBe(41);
    expect(cli.out()).toBe(
      "jane may not reach prod: the grant has expired\n  api/abc would allow it, but it has expired\n" +
        "jane may reach test: granted to user jane by file/x\n",
    );
    expect(asked[0]?.body).toEqual({
      cluster: "prod",
      upstream: "db",
      caller: { username: "jane", groups: [], issuer: "", subject: "", claims: { sub: "jane" } },
    });
  });
});

describe("clusters", () => {
  test("are listed with state and labels", async () => {
    const { cli } = await stage({ body: { items: [CLUSTER, { ...CLUSTER, id: "old", disabled: true }], next: null } });
    expect(await cli.run("admin", "clusters", "list")).toBe(0);
    expect(cli.out()).toContain("prod   Connected   now         1        1      env=prod,old=x\n");
    expect(cli.out()).toContain("old    Disabled ");
  });

  test("show an authority that waits, with both commands that decide", async () => {
    const waiting = { ...CLUSTER, fingerprint: print("01"), pendingFingerprints: [print("AB")], pendingSince: "today" };
    const { cli } = await stage({ body: { items: [waiting], next: null } }, { body: waiting }, { body: waiting });
    expect(await cli.run("admin", "clusters", "list")).toBe(0);
    expect(cli.out()).toMatch(/^prod .* {3}another authority waits: admin clusters show$/m);
    expect(await cli.run("admin", "clusters", "show", "prod")).toBe(0);
    expect(cli.out()).toContain(
      `authority   SHA-256 ${print("01")}\nwaiting     SHA-256 ${print("AB")}, since today\n`,
    );
    for (const verb of ["accept", "refuse"]) {
      expect(cli.out()).toContain(`: cluster-connect admin clusters ${verb} prod --fingerprint ${print("AB")}`);
    }
    const from = cli.out().length;
    expect(await cli.run("admin", "clusters", "show", "prod", "-o", "json")).toBe(0);
    expect(JSON.parse(cli.out().slice(from))).toMatchObject({ pendingFingerprints: [print("AB")] });
  });

  test.each([
    ["accept", "accepted", "is SHA-256"],
    ["refuse", "rejected", "is refused"],
  ])("%s an authority that waits by its fingerprint, however it is written", async (verb, decision, said) => {
    const { cli, asked } = await stage(DONE);
    const typed = print("AB").toLowerCase().replaceAll(":", "");
    expect(await cli.run("admin", "clusters", verb, "prod", "--fingerprint", typed)).toBe(0);
    const path = "/v1/admin/clusters/prod/authorities";
    expect(asked).toEqual([{ method: "POST", path, body: { fingerprint: print("AB"), decision } }]);
    expect(cli.err()).toContain(said);
    expect(await cli.run("admin", "clusters", verb, "prod", "--fingerprint", "AB:CD")).toBe(2);
    expect(await cli.run("admin", "clusters", verb, "prod")).toBe(2);
    expect(asked).toHaveLength(1);
  });

  test("show another cluster under the name, with both commands that decide", async () => {
    const waiting = { ...CLUSTER, uid: "own-uid", pendingUid: "uid-of-the-copy", pendingUidSince: "today" };
    const { cli } = await stage({ body: { items: [waiting], next: null } }, { body: waiting }, { body: CLUSTER });
    expect(await cli.run("admin", "clusters", "list")).toBe(0);
    expect(cli.out()).toMatch(/^prod .* {3}another cluster claims the name: admin clusters show$/m);
    expect(await cli.run("admin", "clusters", "show", "prod")).toBe(0);
    expect(cli.out()).toContain("uid         own-uid\nduplicate   uid-of-the-copy, refused since today\n");
    for (const verb of ["accept", "refuse"]) {
      expect(cli.out()).toContain(`: cluster-connect admin clusters ${verb} prod --uid uid-of-the-copy`);
    }
    // A relay of the version before tells none.
    expect(await cli.run("admin", "clusters", "show", "prod")).toBe(0);
    expect(cli.out()).toContain("uid         not known: no agent has told it\n");
  });

  test.each([
    ["accept", "accepted", "is the cluster with the UID"],
    ["refuse", "rejected", "stays refused"],
  ])("%s another cluster under the name by its UID", async (verb, decision, said) => {
    const { cli, asked } = await stage(DONE);
    expect(await cli.run("admin", "clusters", verb, "prod", "--uid", "uid-of-the-copy")).toBe(0);
    const path = "/v1/admin/clusters/prod/uid";
    expect(asked).toEqual([{ method: "POST", path, body: { uid: "uid-of-the-copy", decision } }]);
    expect(cli.err()).toContain(said);
    expect(await cli.run("admin", "clusters", verb, "prod", "--uid", "a b")).toBe(2);
    const both = ["--uid", "uid-of-the-copy", "--fingerprint", print("AB")];
    expect(await cli.run("admin", "clusters", verb, "prod", ...both)).toBe(2);
    expect(cli.err()).toContain("Give either --fingerprint of an authority or --uid of a cluster");
    expect(asked).toHaveLength(1);
  });

  test("are labelled as kubectl does it", async () => {
    const { cli, asked } = await stage({ body: CLUSTER }, { body: { ...CLUSTER, labels: {} } });
    expect(await cli.run("admin", "clusters", "label", "prod", "tier=a", "old-")).toBe(0);
    expect(asked[1]).toMatchObject({ method: "PATCH", body: { labels: { env: "prod", tier: "a" } } });
    expect(cli.out()).toBe("prod has no labels\n");
    expect(await cli.run("admin", "clusters", "label", "prod", "nothing")).not.toBe(0);
  });

  test("are disabled and enabled", async () => {
    const { cli, asked } = await stage({ body: CLUSTER }, { body: CLUSTER });
    expect(await cli.run("admin", "clusters", "disable", "prod")).toBe(0);
    expect(await cli.run("admin", "clusters", "enable", "prod")).toBe(0);
    expect(asked.map(({ body }) => body)).toEqual([{ disabled: true }, { disabled: false }]);
  });

  test("are removed, while agents are connected only by force", async () => {
    const removed = { body: { done: true, keys: 2, codes: 1 } };
    const { cli, asked } = await stage(
      { body: CLUSTER },
      { body: CLUSTER },
      removed,
      {
        body: { ...CLUSTER, agents: [] },
      },
      removed,
    );
    expect(await cli.run("admin", "clusters", "remove", "prod")).toBe(2);
    expect(cli.err()).toContain("error: An agent of prod is connected (CC_USAGE)");
    expect(cli.err()).toContain("cluster-connect disconnect");
    expect(await cli.run("admin", "clusters", "remove", "prod", "--force")).toBe(0);
    expect(cli.err()).toContain("prod is removed, with its keys (2) and codes (1). Grants that name it stay.\n");
    expect(await cli.run("admin", "clusters", "remove", "prod")).toBe(0);
    expect(asked.map(({ method }) => method)).toEqual(["GET", "GET", "DELETE", "GET", "DELETE"]);
  });
});

test("a code is printed alone on standard output", async () => {
  const code = { id: "h", cluster: "prod", createdBy: "me", expiresAt: "2026-01-01T00:00:00Z", maxUses: 2, uses: 0 };
  const { cli, asked } = await stage({ body: { ...code, revokedAt: null, code: "cc1-code" } });
  expect(await cli.run("admin", "codes", "create", "-n", "prod", "--uses", "2", "--expires", "2h")).toBe(0);
  expect(cli.out()).toBe("cc1-code\n");
  expect(asked[0]?.body).toEqual({ cluster: "prod", expiresSeconds: 7_200, maxUses: 2 });
});

test("a code is JSON for scripts", async () => {
  const code = { id: "h", cluster: "prod", createdBy: "me", expiresAt: "2026-01-01T00:00:00Z", maxUses: 1, uses: 0 };
  const { cli } = await stage({ body: { ...code, revokedAt: null, code: "cc1-code" } });
  expect(await cli.run("admin", "codes", "create", "-n", "prod", "-o", "json")).toBe(0);
  expect(JSON.parse(cli.out())).toEqual({ ...code, revokedAt: null, code: "cc1-code" });
  expect(cli.err()).toBe("");
});

test.each([
  ["codes", "revoke", "-EZGoejr_IGf8wr4kKRWfbfCYgM1Hv2-mxn2SFG78TM"],
  ["keys", "revoke", "-vlqsWZazGdJI8SOzJ4aNgB-be506CDZePLbrz4dfaev"],
  ["sessions", "end", "-hU9osjl4lhBXR0Ql5Aiyg"],
  ["sessions", "end", "--9osjl4lhBXR0Ql5Aiygx"],
])("admin %s %s takes an id that begins with a dash, as it was printed", async (group, verb, id) => {
  const answer = group === "keys" ? REVOKED : DONE;
  const { cli, asked } = await stage(answer, answer);
  expect(await cli.run("admin", group, verb, id)).toBe(0);
  expect(await cli.run("admin", group, verb, "-v", "--", id)).toBe(0);
  expect(asked.map(({ path }) => path)).toEqual(Array(2).fill(`/v1/admin/${group}/${id}`));
});

test.each([
  ["codes", "h", DONE],
  ["keys", "k", REVOKED],
])("%s are listed and revoked", async (group, id, answer) => {
  const { cli, asked } = await stage({ body: { items: [], next: null } }, answer);
  expect(await cli.run("admin", group, "list")).toBe(0);
  expect(await cli.run("admin", group, "revoke", id)).toBe(0);
  expect(asked[1]).toMatchObject({ method: "DELETE", path: `/v1/admin/${group}/${id}` });
});

test("sessions are listed and ended, and the audit is shown", async () => {
  const use = { openStreams: 0, streams: 1, upBytes: 2, downBytes: 3 };
  const session = { id: "s1", relayId: "r", username: "jane", address: null, since: "now", clusters: { prod: use } };
  const actor = { issuer: null, subject: null, username: "root" };
  const entry = { sequence: 7, at: "now", event: "grant.added", actor, cluster: null, detail: { a: 1 } };
  const { cli, asked } = await stage({ body: { items: [session], next: null } }, DONE, {
    body: { items: [entry], next: null },
  });
  expect(await cli.run("admin", "sessions", "list")).toBe(0);
  expect(await cli.run("admin", "sessions", "end", "s1")).toBe(0);
  expect(await cli.run("admin", "audit", "--event", "grant.added", "-n", "prod", "--subject", "r1")).toBe(0);
  expect(cli.out()).toContain("s1   jane   -         now     prod");
  expect(cli.out()).toContain('7        now   grant.added   root   -         {"a":1}');
  expect(asked[2]?.path).toBe("/v1/admin/audit?limit=50&event=grant.added&subject=r1&cluster=prod");
});

test("who is no administrator, and what the relay does not take, is said in the relay's words", async () => {
  const { cli } = await stage(
    { status: 403, body: { code: "CC_ADMIN_REQUIRED", message: "jane may not change it" } },
    { status: 400, body: { code: "CC_REQUEST_REFUSED", message: "body users: expected more" } },
  );
  const flags = ["-n", "prod", "--user", "jane"];
  expect(await cli.run("admin", "grants", "add", ...flags)).toBe(44);
  expect(cli.err()).toContain("jane may not change it");
  expect(cli.err()).toContain("name you in its `admins` setting");
  expect(await cli.run("admin", "grants", "add", ...flags)).toBe(2);
  expect(cli.err()).toContain("body users: expected more");
  expect(cli.err()).toContain("hint: Run `cluster-connect admin grants add --help`.\n");
});
