import { test } from "vitest";
import { createFixture, expectRejection } from "../fixture.ts";

test.each([undefined, "other", ["other", "third"], [], "", null, 7, "cluster-connect ", "Cluster-Connect", { a: 1 }])(
  "an audience of %j is refused with the expected one",
  async (aud) => {
    await using fixture = await createFixture();
    const token = await fixture.issuer.sign({ aud });
    await expectRejection(
      fixture.verify(token),
      "CC_TOKEN_AUDIENCE",
      /audience \(aud\) is not cluster-connect$/,
      token,
    );
  },
);

test("a token for the relay is refused at the cluster", async () => {
  await using fixture = await createFixture({ trusted: { audiences: ["cluster-one"] } });
  const token = await fixture.issuer.sign({ aud: "relay" });
  await expectRejection(fixture.verify(token), "CC_TOKEN_AUDIENCE", /is not cluster-one$/, token);
});
