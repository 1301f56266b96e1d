import { expect, test } from "vitest";
import { probeUpstream } from "../../src/streams/probe.ts";

test("a probe tells 512 characters of what the auth proxy says of the apiserver, and no more", async () => {
  const told = async (characters: number): Promise<string | undefined> => {
    const report = { ok: false, checks: [{ name: "apiserver", ok: false, text: "x".repeat(characters) }] };
    const options = { signal: new AbortController().signal };
    const { apiserver } = await probeUpstream(new URL("http://127.0.0.1/readyz"), options, {
      fetch: async () => Response.json(report),
    });
    return apiserver?.text;
  };
  expect(await told(512)).toHaveLength(512);
  expect(await told(513)).toHaveLength(512);
});
