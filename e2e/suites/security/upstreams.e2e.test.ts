import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { ECHO, UNGRANTED, UNSERVED, useTransport } from "../support/transport.ts";

/** Agents' upstreams beside the apiserver, through the whole chain. */
const NO_END = new AbortController().signal;
const suite = useTransport();

function openLink(): ReturnType<ReturnType<typeof suite>["link"]> {
  const link = suite().link();
  onTestFinished(() => link.close());
  return link;
}

test("an upstream that a grant names is reached", async () => {
  const link = openLink();
  const stream = await link.open(ECHO, { signal: NO_END });
  stream.end("hello");
  expect(await text(stream)).toBe("hello");
});

test("one that the agent has and no grant names is refused, as is a name that is nowhere", async () => {
  const link = openLink();
  for (const upstream of [UNGRANTED, "nowhere"]) {
    const stream = await link.open(upstream, { signal: NO_END });
    stream.on("error", () => undefined);
    await expect(stream.accepted).rejects.toMatchObject({
      code: "CC_GRANT_MISSING",
      message: expect.stringContaining(`No grant of yours names the upstream ${upstream}`),
    });
  }
});

test("one that a grant names and the agent is not configured for is refused by the agent", async () => {
  const link = openLink();
  const stream = await link.open(UNSERVED, { signal: NO_END });
  stream.on("error", () => undefined);
  await expect(stream.accepted).rejects.toMatchObject({ code: "CC_UPSTREAM_UNREACHABLE" });
});
