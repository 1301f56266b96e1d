import { test } from "vitest";
import { AUDIENCE, createFixture, expectRejection } from "../fixture.ts";

const map = () => ({ username: "fixed", groups: [], extra: {} });

test.each([undefined, "", null, 7, ["a"]])(
  "a subject of %j is refused whatever the mapping makes of it",
  async (sub) => {
    await using fixture = await createFixture({ trusted: { map } });
    const token = await fixture.issuer.sign({ aud: AUDIENCE, sub });
    await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /no subject \(sub\)/, token);
  },
);
