import { randomBytes } from "node:crypto";
import { instanceIdOf } from "@cluster-connect/auth";
import { createStreamOpener, type MuxStream, type Session } from "@cluster-connect/framing";
import { ConnectError, parseSecret, type Secret } from "@cluster-connect/protocol";
import { describe, expect, test, vi } from "vitest";
import {
  type AgentOptions,
  dialAgent,
  dialCli,
  enrollAgent,
  type Fixture,
  openRequest,
  opsToken,
  PROD,
  startFixture,
  type TestAgent,
} from "../support/fixture.ts";

const GRACE_MS = 60_000;

interface Stage {
  readonly fixture: Fixture;
  readonly killed: Session;
  readonly agent: TestAgent;
  readonly secret: Secret;
  readonly stream: MuxStream;
  readonly cli: Session;
}

/** A caller's stream in the tunnel of an agent whose secret is known. */
async function stage(): Promise<Stage> {
  const fixture = await startFixture();
  const secret = parseSecret(randomBytes(32).toString("base64url"));
  const agent = { ...(await enrollAgent(fixture)), instanceId: instanceIdOf(secret) };
  const killed = await dialAgent(fixture, agent, {
    onStream: (incoming) => void incoming.accept({ instanceId: agent.instanceId, graceMs: GRACE_MS }),
  });
  await killed.ready;
  const cli = await dialCli(fixture, await opsToken(fixture));
  const opener = createStreamOpener({ graceMs: GRACE_MS });
  await cli.ready;
  opener.use(cli);
  await vi.waitUntil(() => fixture.relay.registry.view(PROD).state === "connected", { timeout: 30_000 });
  const { signal } = new AbortController();
  const stream = await opener.open(openRequest(), { signal });
  stream.on("error", () => undefined);
  await stream.accepted;
  return { fixture, killed, agent, secret, stream, cli };
}

/** Another process with the same key. @param follows the secrets that it shows. */
async function successor(
  { fixture, agent }: Stage,
  follows: readonly Secret[],
  options: AgentOptions = {},
): Promise<Session> {
  const other = { ...agent, instanceId: instanceIdOf(parseSecret(randomBytes(32).toString("base64url"))) };
  const session = await dialAgent(fixture, other, { tamper: (proof) => ({ ...proof, follows }), ...options });
  await session.ready;
  return session;
}

const REPLACED = { kind: "reset", error: { code: "CC_AGENT_REPLACED" } };

describe("an agent that follows a killed one", () => {
  test("ends the streams of that one at once, where the relay has not noticed its end", async () => {
    const on = await stage();
    await successor(on, [on.secret]);
    await expect(on.stream.done).resolves.toMatchObject(REPLACED);
    await expect(on.killed.closed).resolves.toMatchObject({ code: "CC_AGENT_REPLACED" });
  });

  test("is asked about streams of that one, and its refusal ends them", async () => {
    const on = await stage();
    on.killed.close();
    await vi.waitUntil(() => on.stream.endpoint.suspended, { timeout: 30_000 });
    await successor(on, [on.secret], {
      onStream: (incoming) => {
        expect(incoming.request).toMatchObject({ kind: "resume", resume: { instanceId: on.agent.instanceId } });
        const { code, message } = new ConnectError("CC_AGENT_REPLACED", "The agent that held the stream was killed");
        incoming.reject(code, message);
      },
    });
    await expect(on.stream.done).resolves.toMatchObject(REPLACED);
  });
});

describe("an agent with the cluster's key and without the secret", () => {
  const impostors: readonly (readonly [string, (on: Stage) => readonly Secret[]])[] = [
    ["that names another secret", () => [parseSecret(randomBytes(32).toString("base64url"))]],
    ["that names nothing", () => []],
  ];

  test.each(impostors)("%s ends no stream of another one", async (_what, follows) => {
    const on = await stage();
    const impostor = await successor(on, follows(on));
    await vi.waitUntil(() => on.fixture.relay.registry.tunnels().length === 2, { timeout: 30_000 });
    // The relay has judged it, and a stream that is opened afterwards is answered.
    const later = on.cli.open(openRequest());
    await later.accepted;
    expect(on.stream.destroyed).toBe(false);
    expect(on.killed.state).toBe("open");
    expect(on.fixture.relay.registry.find(PROD, on.agent.instanceId)?.session.state).toBe("open");
    impostor.close();
  });

  test("is not asked about streams of another one that is away for a moment", async () => {
    const on = await stage();
    const asked = vi.fn();
    await successor(on, [parseSecret(randomBytes(32).toString("base64url"))], { onStream: asked });
    on.killed.close();
    await vi.waitUntil(() => on.stream.endpoint.suspended, { timeout: 30_000 });
    await vi.waitUntil(() => on.fixture.relay.registry.tunnels().length === 1, { timeout: 30_000 });
    expect(on.fixture.relay.registry.find(PROD, on.agent.instanceId)).toBeUndefined();
    const back = await dialAgent(on.fixture, on.agent, {
      onStream: (incoming) => incoming.reject("CC_STREAM_FINISHED", "the stream came back to its own agent"),
    });
    await back.ready;
    await expect(on.stream.done).resolves.not.toMatchObject(REPLACED);
    expect(asked).not.toHaveBeenCalled();
  });
});
