import { request } from "node:http";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { type LoopbackCallback, listenForCallback } from "../../src/login/callback.ts";

interface Listening {
  readonly callback: LoopbackCallback;
  readonly refusals: readonly string[];
}

async function listening(host: "127.0.0.1" | "localhost"): Promise<Listening> {
  const end = new AbortController();
  onTestFinished(() => end.abort());
  const refusals: string[] = [];
  const onRefusal = (said: string): void => void refusals.push(said);
  return { refusals, callback: await listenForCallback("state-1", { signal: end.signal, host, onRefusal }) };
}

async function visit(address: string, query: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    request(`${address}${query}`, (response) => text(response).then(resolve, reject))
      .once("error", reject)
      .end();
  });
}

test("a refusal without state is shown in the browser and told, and the right answer may still come", async () => {
  const { callback, refusals } = await listening("127.0.0.1");
  const page = await visit(
    callback.redirectUri,
    "?error=access_denied&error_description=%3Cb%3Eask%20your%0Aadministrator%3C%2Fb%3E",
  );
  expect(page).toContain("The issuer says: access_denied: &#60;b&#62;ask your administrator&#60;/b&#62;.");
  expect(refusals).toEqual(["access_denied: <b>ask your administrator</b>"]);
  const answer = visit(callback.redirectUri, "?code=1&state=state-1");
  expect((await callback.answered).searchParams.get("code")).toBe("1");
  await callback.finish(undefined);
  expect(await answer).toContain("You are signed in");
});

test.each(["?error=access_denied&state=another", "?code=1", "?error=", ""])("%s is nobody's answer", async (query) => {
  const { callback, refusals } = await listening("127.0.0.1");
  expect(await visit(callback.redirectUri, query)).toContain("There is nothing here.");
  expect(refusals).toEqual([]);
});

test("a browser that takes localhost for either loopback finds the same port", async () => {
  const { callback } = await listening("localhost");
  const { port } = new URL(callback.redirectUri);
  for (const host of ["127.0.0.1", "[::1]"]) {
    expect(await visit(`http://${host}:${port}/callback`, "")).toContain("There is nothing here.");
  }
});

test("a browser whose tab is closed before the terminal is done keeps nobody waiting", async () => {
  const { callback } = await listening("127.0.0.1");
  const { port, pathname } = new URL(callback.redirectUri);
  const tab = connect(Number(port), "127.0.0.1");
  tab.write(`GET ${pathname}?code=1&state=state-1 HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
  await callback.answered;
  tab.destroy();
  // The listener has heard of it when the next visitor is answered.
  expect(await visit(callback.redirectUri, "")).toContain("There is nothing here.");
  await callback.finish(undefined);
  await expect(visit(callback.redirectUri, "")).rejects.toMatchObject({ code: "ECONNREFUSED" });
});
