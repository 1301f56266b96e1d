import { afterEach, describe, expect, test } from "vitest";
import { readActing } from "../../src/admission/acting.ts";
import { MAX_ACTING_ITEMS, MAX_REVIEW_BYTES } from "../../src/limits/limits.ts";
import { ALICE, createFixture, type Fixture, IMPERSONATION } from "../support/fixture.ts";
import { type RawAnswer, requestText, sendRaw } from "../support/raw-client.ts";
import { namesOf, valuesOf } from "../support/recording-upstream.ts";

const REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const REFUSED = expect.objectContaining({ code: "CC_REQUEST_REFUSED" });

describe("what a caller asks to act as", () => {
  test("is read with order, odd names, UTF-8 and escaped keys kept", () => {
    expect(
      readActing([
        ["Impersonate-User", "Zo\xc3\xab"],
        ["Impersonate-Group", ",,,chameleon"],
        ["impersonate-GROUP", "a"],
        ["Impersonate-Extra-Example.org%2Frole", "x"],
        ["Impersonate-Extra-example.org%2frole", "y"],
        ["Impersonate-Uid", "7"],
        ["Accept", "a"],
      ]),
    ).toEqual({ username: "Zoë", uid: "7", groups: [",,,chameleon", "a"], extra: { "example.org/role": ["x", "y"] } });
  });

  test("is nothing without such a header", () => {
    expect(readActing([["Accept", "a"]])).toBeUndefined();
  });

  test.each([
    [[["Impersonate-Group", "a"]]],
    [[["Impersonate-User", ""]]],
    [
      [
        ["Impersonate-User", "a"],
        ["Impersonate_Group", "b"],
      ],
    ],
    [
      [
        ["Impersonate-User", "a"],
        ["Impersonate-Unknown", "b"],
      ],
    ],
    [[["Impersonate-User", "\xff"]]],
    [
      [
        ["Impersonate-User", "a"],
        ["Impersonate-Extra-%zz", "b"],
      ],
    ],
  ] as const)("is refused when the apiserver could read it in another way (%#)", (lines) => {
    expect(() => readActing(lines)).toThrow(REFUSED);
  });
});

describe("with --as allowed", () => {
  let fixture: Fixture;
  afterEach(() => fixture[Symbol.asyncDispose]());

  async function start(
    allowed: (attributes: Readonly<Record<string, unknown>>) => boolean,
    mode: "legacy" | "constrained" = "legacy",
  ): Promise<readonly Review[]> {
    const reviews: Review[] = [];
    fixture = await createFixture({
      config: { impersonation: { ...IMPERSONATION, mode, allowAs: true, extraKeys: ["example.org/role"] } },
      prepare: (upstream) => {
        upstream.answer = (request, response, body) => {
          if (request.url !== REVIEWS) return void response.writeHead(200, { "Content-Length": "0" }).end();
          const { spec } = JSON.parse(body);
          reviews.push(spec);
          response.writeHead(201, { "Content-Type": "application/json" });
          response.end(JSON.stringify({ status: { allowed: allowed(spec.resourceAttributes) } }));
        };
      },
    });
    return reviews;
  }

  interface Review {
    readonly user: string;
    readonly groups: readonly string[];
    readonly uid: string;
    readonly resourceAttributes: Readonly<Record<string, unknown>>;
  }

  async function send(...headers: readonly string[]): Promise<RawAnswer> {
    const lines = ["Host: a", `Authorization: Bearer ${await fixture.token()}`, ...headers];
    return sendRaw(fixture.target, requestText("GET /api/v1/pods HTTP/1.1", lines), { correlationId: "c-1" });
  }
  const forwarded = (): Fixture["upstream"]["requests"] =>
    fixture.upstream.requests.filter(({ target }) => target !== REVIEWS);

  test("a request may ask to act as the most things that there may be, and not one more", async () => {
    expect(MAX_ACTING_ITEMS).toBe(64);
    const reviews = await start(() => true);
    const groups = (count: number) => Array.from({ length: count }, (_, at) => `Impersonate-Group: g${at}`);
    expect((await send("Impersonate-User: bob", ...groups(63))).status).toBe(200);
    expect(reviews).toHaveLength(64);
    const refused = await send("Impersonate-User: bob", ...groups(64));
    expect(refused.body).toContain("act as more than 64 things");
    expect(reviews).toHaveLength(64);
  });

  test("a review's answer may be as long as is read, and one that is longer allows nothing", async () => {
    expect(MAX_REVIEW_BYTES).toBe(1_048_576);
    await start(() => true);
    const usual = JSON.stringify({ status: { allowed: true } });
    const length = { of: 1_048_576 };
    fixture.upstream.answer = (request, response) => {
      if (request.url !== REVIEWS) return void response.writeHead(200, { "Content-Length": "0" }).end();
      response.writeHead(201, { "Content-Type": "application/json" });
      response.end(usual.padEnd(length.of));
    };
    expect((await send("Impersonate-User: bob")).status).toBe(200);
    length.of += 1;
    const refused = await send("Impersonate-User: bob");
    expect(refused.status).toBe(503);
    expect(refused.body).toContain("answer is too long");
    expect(forwarded()).toHaveLength(1);
  });

  test("the real caller is reviewed for each item, and kept in an extra", async () => {
    const reviews = await start(() => true);
    const answer = await send(
      "Impersonate-User: bob",
      "Impersonate-Group: ,,,chameleon",
      "Impersonate-Group: ops",
      "Impersonate-Uid: 7",
      "Impersonate-Extra-example.org%2Frole: admin",
    );
    expect(answer.status).toBe(200);
    expect(reviews).toHaveLength(5);
    for (const review of reviews) {
      expect(review).toMatchObject({ user: ALICE, uid: "alice", groups: ["dev", "ops", "system:authenticated"] });
    }
    expect(reviews.map((review) => review.resourceAttributes)).toEqual(
      expect.arrayContaining([
        { verb: "impersonate", group: "", resource: "users", name: "bob" },
        { verb: "impersonate", group: "", resource: "groups", name: ",,,chameleon" },
        { verb: "impersonate", group: "", resource: "groups", name: "ops" },
        { verb: "impersonate", group: "authentication.k8s.io", resource: "uids", name: "7" },
        {
          verb: "impersonate",
          group: "authentication.k8s.io",
          resource: "userextras",
          subresource: "example.org/role",
          name: "admin",
        },
      ]),
    );
    const [recorded] = forwarded();
    expect(valuesOf(recorded, "impersonate-user")).toEqual(["bob"]);
    expect(valuesOf(recorded, "impersonate-group")).toEqual([",,,chameleon", "ops"]);
    expect(valuesOf(recorded, "impersonate-uid")).toEqual(["7"]);
    expect(valuesOf(recorded, "impersonate-extra-example.org%2frole")).toEqual(["admin"]);
    expect(valuesOf(recorded, "impersonate-extra-connect.example.org%2fimpersonated-by")).toEqual([ALICE]);
    expect(valuesOf(recorded, "impersonate-extra-connect.example.org%2fsubject")).toEqual(["alice"]);
    expect(await fixture.log.once("request")).toMatchObject({ username: ALICE, actingAs: "bob", decision: "allowed" });
  });

  test.each(["users", "groups", "uids", "userextras"])(
    "one item that is not allowed (%s) refuses the whole",
    async (resource) => {
      await start((attributes) => attributes["resource"] !== resource);
      const answer = await send(
        "Impersonate-User: bob",
        "Impersonate-Group: g",
        "Impersonate-Uid: 7",
        "Impersonate-Extra-example.org%2Frole: r",
      );
      expect(answer.status).toBe(403);
      expect(answer.body).toContain(resource);
      expect(answer.body).not.toContain("bob");
      expect(forwarded()).toEqual([]);
    },
  );

  test("a service account is reviewed as one, with its namespace", async () => {
    const reviews = await start(() => true);
    await send("Impersonate-User: system:serviceaccount:ns:robot");
    expect(reviews.map((review) => review.resourceAttributes)).toEqual([
      { verb: "impersonate", group: "", resource: "serviceaccounts", namespace: "ns", name: "robot" },
    ]);
  });

  const ACCOUNT_GROUPS = [
    "Impersonate-Group: system:serviceaccounts:ns",
    "Impersonate-Group: system:serviceaccounts",
    "Impersonate-Group: system:authenticated",
  ];

  test.each([
    ["a service account", ["Impersonate-User: system:serviceaccount:ns:robot"]],
    ["a service account with just its groups", ["Impersonate-User: system:serviceaccount:ns:robot", ...ACCOUNT_GROUPS]],
    ["a node with just its group", ["Impersonate-User: system:node:n1", "Impersonate-Group: system:nodes"]],
  ])(
    "constrained, %s is sent by the username alone, after a review of all that was asked for",
    async (_what, asked) => {
      const reviews = await start(() => true, "constrained");
      expect((await send(...asked)).status).toBe(200);
      expect(reviews).toHaveLength(asked.length);
      const names = namesOf(forwarded()[0]).filter((name) => name.startsWith("impersonate-"));
      expect(names).toEqual(["impersonate-user"]);
    },
  );

  test.each([
    ["a node without its group", ["Impersonate-User: system:node:n1"], "--as-group=system:nodes"],
    [
      "a node with another group",
      ["Impersonate-User: system:node:n1", "Impersonate-Group: dev"],
      "--as-group=system:nodes",
    ],
    [
      "a node with one group more",
      ["Impersonate-User: system:node:n1", "Impersonate-Group: system:nodes", "Impersonate-Group: dev"],
      "--as-group=system:nodes",
    ],
    [
      "a service account with one of its groups",
      ["Impersonate-User: system:serviceaccount:ns:robot", "Impersonate-Group: system:serviceaccounts"],
      "--as-group=system:serviceaccounts:ns",
    ],
    [
      "a service account with the groups of another namespace",
      [
        "Impersonate-User: system:serviceaccount:ns:robot",
        "Impersonate-Group: system:serviceaccounts",
        "Impersonate-Group: system:serviceaccounts:kube-system",
      ],
      "--as-group=system:serviceaccounts:ns",
    ],
    [
      "a service account with a uid",
      ["Impersonate-User: system:serviceaccount:ns:robot", "Impersonate-Uid: 7"],
      "Leave --as-uid",
    ],
    [
      "a service account with an extra",
      ["Impersonate-User: system:serviceaccount:ns:robot", "Impersonate-Extra-a: 7"],
      "--as-user-extra away",
    ],
  ])("constrained, %s is refused with a way out: directly it would be somebody else", async (_what, asked, hint) => {
    await start(() => true, "constrained");
    const answer = await send(...asked);
    expect(answer.status).toBe(403);
    expect(answer.body).toContain("CC_IDENTITY_REFUSED");
    expect(answer.body).toContain(hint);
    expect(forwarded()).toEqual([]);
  });

  test("a node's group is reviewed like any other", async () => {
    await start((attributes) => attributes["resource"] !== "groups", "constrained");
    const answer = await send("Impersonate-User: system:node:n1", "Impersonate-Group: system:nodes");
    expect(answer.status).toBe(403);
    expect(answer.body).toContain("one of the groups");
    expect(forwarded()).toEqual([]);
  });

  test("an extra that is asked for needs no domain: its review decides", async () => {
    const reviews = await start(() => true, "constrained");
    const asked = [
      "Impersonate-User: bob",
      "Impersonate-Extra-Key1: a",
      "Impersonate-Extra-authentication.kubernetes.io%2Fx: b",
    ];
    expect((await send(...asked)).status).toBe(200);
    expect(reviews.map(({ resourceAttributes }) => resourceAttributes["subresource"])).toEqual(
      expect.arrayContaining(["key1", "authentication.kubernetes.io/x"]),
    );
    expect(valuesOf(forwarded()[0], "impersonate-extra-key1")).toEqual(["a"]);
    expect(valuesOf(forwarded()[0], "impersonate-extra-authentication.kubernetes.io%2fx")).toEqual(["b"]);
  });

  test("legacy, an extra that our own account may not write is refused with the setting's name", async () => {
    await start(() => true);
    const answer = await send("Impersonate-User: bob", "Impersonate-Extra-key1: a");
    expect(answer.status).toBe(403);
    expect(answer.body).toContain("impersonation.extraKeys");
    expect(forwarded()).toEqual([]);
  });

  test("a caller cannot write the extras that say who really called", async () => {
    await start(() => true);
    const answer = await send(
      "Impersonate-User: bob",
      "Impersonate-Extra-connect.example.org%2Fimpersonated-by: carol",
    );
    expect(answer.status).toBe(403);
    expect(forwarded()).toEqual([]);
  });

  test("two users to act as are refused", async () => {
    await start(() => true);
    expect((await send("Impersonate-User: bob", "Impersonate-User: carol")).status).toBe(400);
    expect(fixture.upstream.requests).toEqual([]);
  });
});
