import { beforeAll, describe, expect, test } from "vitest";
import type { Fault } from "../../src/faults/fault.ts";
import { HALF_OPEN } from "../../src/faults/half-open.ts";
import { STALL } from "../../src/faults/stall.ts";
import { pollUntil } from "../../src/process/poll.ts";
import type { Cli, LocalProxy } from "../../src/stack/cli.ts";
import { expectWithin } from "../support/reliability/promise.ts";
import { type Transport, useTransport } from "../support/transport.ts";
import { curlInsecure } from "../support/wire/local-request.ts";

const transport = useTransport();
let viewer: Cli;

beforeAll(async () => {
  viewer = await transport().person("viewer");
});

const REFUSED_WITHIN_MS = 2_000;
const BACK_MS = 60_000;
const UNAUTHORIZED = 401;

/** Begins a fault, and is told when it is over. */
type Break = (at: Transport) => () => void;

const stopped =
  (pick: (at: Transport) => Transport["stack"]["relay"]["program"] | undefined): Break =>
  (at) => {
    pick(at)?.signal("SIGSTOP");
    return () => pick(at)?.signal("SIGCONT");
  };
const onLink =
  (side: "callerSide" | "agentSide" | "authProxySide", fault: Fault): Break =>
  (at) =>
    at[side].begin(fault);

/** A request of a program that has just been started: a new connection, without a token. */
const ask = async ({ port }: LocalProxy): Promise<number> => (await curlInsecure(port, "/version")).status;

const servedAgain = (proxy: LocalProxy): Promise<true> =>
  pollUntil(async () => ((await ask(proxy).catch(() => 0)) === UNAUTHORIZED ? true : undefined), {
    signal: AbortSignal.timeout(BACK_MS),
  });

const SCENES: readonly (readonly [string, RegExp, Break])[] = [
  ["the relay is stopped", /relay.*CC_(CHANNEL_LOST|RELAY_UNREACHABLE)/, stopped(({ stack }) => stack.relay.program)],
  ["the link to the relay stalls", /relay.*CC_(CHANNEL_LOST|RELAY_UNREACHABLE)/, onLink("callerSide", STALL)],
  [
    "the link to the relay loses everything",
    /relay.*CC_(CHANNEL_LOST|RELAY_UNREACHABLE)/,
    onLink("callerSide", HALF_OPEN),
  ],
  ["the agent is stopped", /agent.*CC_AGENT_OFFLINE/, stopped(({ stack }) => stack.agent.program)],
  ["the agent's link stalls", /agent.*CC_AGENT_OFFLINE/, onLink("agentSide", STALL)],
  ["the agent's link loses everything", /agent.*CC_AGENT_OFFLINE/, onLink("agentSide", HALF_OPEN)],
  ["the auth proxy is stopped", /auth proxy.*CC_UPSTREAM_UNREACHABLE/, stopped(({ stack }) => stack.authProxy.program)],
  ["the auth proxy's link stalls", /auth proxy.*CC_UPSTREAM_UNREACHABLE/, onLink("authProxySide", STALL)],
  ["the auth proxy's link loses everything", /auth proxy.*CC_UPSTREAM_UNREACHABLE/, onLink("authProxySide", HALF_OPEN)],
];

describe("a new request hears which hop stands", () => {
  test.each(SCENES)("when %s", async (name, hop, begin) => {
    // One of its own: a screen says the same failure once in a while.
    const proxy = await viewer.proxy([transport().stack.clusterId]);
    const end = begin(transport());
    try {
      const from = performance.now();
      await expect(ask(proxy)).rejects.toThrow();
      await expectWithin(`a new request, ${name}`, REFUSED_WITHIN_MS, performance.now() - from);
      const said = async (): Promise<true | undefined> => (hop.test(await proxy.screen()) ? true : undefined);
      await pollUntil(said, { signal: AbortSignal.timeout(BACK_MS) });
    } finally {
      end();
    }
    await servedAgain(proxy);
    await proxy.stop();
  });
});
