import { createHash, randomBytes } from "node:crypto";
import { createResumeRegistry, createStreamOpener, type MuxStream } from "@cluster-connect/framing";
import { expect, onTestFinished, test, vi } from "vitest";
import {
  type AgentOptions,
  dialAgent,
  dialCli,
  enrollAgent,
  openRequest,
  opsToken,
  startFixture,
} from "./support/fixture.ts";

const signal = new AbortController().signal;

/** How a test agent answers streams: it echoes, and holds streams across tunnels. */
function resumable(agent: { readonly instanceId: Parameters<typeof createResumeRegistryAnswer>[0] }): AgentOptions {
  return { onStream: createResumeRegistryAnswer(agent.instanceId) };
}

function createResumeRegistryAnswer(instanceId: Awaited<ReturnType<typeof enrollAgent>>["instanceId"]) {
  const registry = createResumeRegistry();
  onTestFinished(() => registry.close());
  const onStream: NonNullable<AgentOptions["onStream"]> = (incoming) => {
    const stream = registry.answer(incoming, { instanceId, graceMs: 30_000 });
    stream?.pipe(stream);
  };
  return onStream;
}

async function hashOf(stream: MuxStream): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of stream) hash.update(chunk);
  return hash.digest("hex");
}

test("a stream goes on over a restarted relay without a lost or repeated byte", async () => {
  const before = await startFixture();
  const agent = await enrollAgent(before);
  const options = resumable(agent);
  await (await dialAgent(before, agent, options)).ready;
  const opener = createStreamOpener();
  opener.use(await dialCli(before, await opsToken(before)));
  const stream = await opener.open(openRequest(), { signal });
  const sent = randomBytes(3_000_000);
  const received = hashOf(stream);
  stream.write(sent.subarray(0, 1_000_000));
  await vi.waitUntil(() => stream.bytesTaken > 100_000, { timeout: 30_000 });
  await before.stop();
  stream.write(sent.subarray(1_000_000, 2_000_000));
  const after = await startFixture({ after: before });
  await (await dialAgent(after, agent, options)).ready;
  opener.use(await dialCli(after, await opsToken(after)));
  stream.end(sent.subarray(2_000_000));
  await expect(received).resolves.toBe(createHash("sha256").update(sent).digest("hex"));
  await expect(stream.done).resolves.toEqual({ kind: "finished" });
});

test("a stream waits for the one agent that holds it, and is not given to another", async () => {
  const fixture = await startFixture();
  const [holder, other] = [await enrollAgent(fixture), await enrollAgent(fixture)];
  const options = resumable(holder);
  const tunnel = await dialAgent(fixture, holder, options);
  await tunnel.ready;
  const opener = createStreamOpener();
  const cli = await dialCli(fixture, await opsToken(fixture));
  opener.use(cli);
  const stream = await opener.open(openRequest(), { signal });
  await expect(stream.accepted).resolves.toMatchObject({ instanceId: holder.instanceId });
  await (await dialAgent(fixture, other)).ready;
  tunnel.close();
  await fixture.log.once("tunnel.closed");
  await vi.waitUntil(
    () =>
      fixture.log.lines.some(
        ({ event, code, kind }) => event === "stream.refused" && code === "CC_AGENT_OFFLINE" && kind === "resume",
      ),
    { timeout: 30_000 },
  );
  await (await dialAgent(fixture, holder, options)).ready;
  stream.end("still here");
  await expect(hashOf(stream)).resolves.toBe(createHash("sha256").update("still here").digest("hex"));
});

test("a stream is not resumed by another caller who knows its key", async () => {
  const fixture = await startFixture();
  const agent = await enrollAgent(fixture);
  await (await dialAgent(fixture, agent, resumable(agent))).ready;
  const opener = createStreamOpener();
  const jane = await dialCli(fixture, await opsToken(fixture));
  opener.use(jane);
  const stream = await opener.open(openRequest(), { signal });
  await stream.accepted;
  opener.use(await dialCli(fixture, await opsToken(fixture, { sub: "mallory" })));
  await expect(stream.done).resolves.toMatchObject({ kind: "reset", error: { code: "CC_RESUME_UNKNOWN" } });
});
