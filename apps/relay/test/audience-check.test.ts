import { readFile, writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { dialCli, opsToken, startFixture } from "./support/fixture.ts";

test.each(["clusters", "clusters/prod"])(
  "an audience that clusters take (%s) and a reload brings does not count here, and the former ones go on",
  async (audience) => {
    const fixture = await startFixture({
      config: {
        login: {
          issuer: "https://login.test",
          clientId: "cli",
          scopes: ["openid"],
          audiences: { relay: "https://relay.test", cluster: audience.replace("prod", "{cluster}") },
          resourceParameter: "resource",
        },
      },
    });
    const { authenticationConfig } = fixture.config;
    const text = await readFile(authenticationConfig, "utf8");
    const file = JSON.parse(text);
    file.jwt[0].issuer.audiences = ["https://relay.test", audience];
    file.jwt[0].issuer.audienceMatchPolicy = "MatchAny";
    await writeFile(authenticationConfig, JSON.stringify(file));
    await fixture.reload();
    const token = await opsToken(fixture, { aud: audience });
    await expect(dialCli(fixture, token)).rejects.toMatchObject({ code: "CC_TOKEN_AUDIENCE" });
    await (await dialCli(fixture, await opsToken(fixture))).ready;
    file.jwt[0].issuer.audiences = ["https://relay.test", "another"];
    await writeFile(authenticationConfig, JSON.stringify(file));
    await fixture.reload();
    await (await dialCli(fixture, await opsToken(fixture, { aud: "another" }))).ready;
  },
);
