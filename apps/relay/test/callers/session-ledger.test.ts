import { writeFile } from "node:fs/promises";
import { startTestIssuer } from "@cluster-connect/auth/testing";
import { expect, onTestFinished, test, vi } from "vitest";
import { ask } from "../support/admin.ts";
import { dialAgent, dialCli, enrollAgent, openRequest, opsToken, startFixture } from "../support/fixture.ts";

test("a session ends with its streams when its token's issuer is no longer trusted; agents and others go on", async () => {
  const fixture = await startFixture();
  const agent = await dialAgent(fixture, await enrollAgent(fixture));
  await agent.ready;
  const next = await startTestIssuer();
  onTestFinished(() => next.stop());
  const session = await dialCli(fixture, await opsToken(fixture));
  await session.ready;
  const stream = session.open(openRequest());
  await stream.accepted;
  const broken = new Promise((resolve) => stream.once("error", resolve));
  await fixture.trust(next);
  expect(await session.closed).toMatchObject({
    code: "CC_SESSION_ENDED",
    text: "The issuer of the token that opened the session is no longer trusted",
  });
  expect(await broken).toMatchObject({ code: "CC_SESSION_ENDED" });
  await expect(dialCli(fixture, await opsToken(fixture))).rejects.toMatchObject({ code: "CC_TOKEN_ISSUER" });
  const other = await dialCli(fixture, await opsToken({ ...fixture, issuer: next }));
  await other.ready;
  // A session that is written down was looked at before.
  await vi.waitFor(
    async () => {
      const answer = await ask({ ...fixture, issuer: next }, "GET", "/v1/admin/sessions");
      expect(answer.body).toMatchObject({ items: [{ username: "jane" }] });
    },
    { timeout: 30_000 },
  );
  expect([other.state, agent.state]).toEqual(["open", "open"]);
});

test("sessions and listeners of events end when their token would not be accepted any more", async () => {
  const fixture = await startFixture();
  const session = await dialCli(fixture, await opsToken(fixture));
  await session.ready;
  const token = await opsToken(fixture, { sub: "root" });
  const events = await fetch(new URL("/v1/admin/events", fixture.url), {
    headers: { authorization: `Bearer ${token}` },
  });
  const ended = events.text();
  const narrowed = {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthenticationConfiguration",
    jwt: [
      {
        issuer: { url: fixture.issuer.url, audiences: ["https://other.test"] },
        claimMappings: { username: { claim: "sub", prefix: "" }, groups: { claim: "groups", prefix: "" } },
      },
    ],
  };
  await writeFile(fixture.config.authenticationConfig, JSON.stringify(narrowed));
  await fixture.reload();
  expect(await session.closed).toMatchObject({
    code: "CC_SESSION_ENDED",
    text: "The token that opened the session would not be accepted any more",
  });
  expect(await ended).toContain("listening");
});
