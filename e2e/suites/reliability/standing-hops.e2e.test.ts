import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CUT } from "../../src/faults/cut.ts";
import type { Fault } from "../../src/faults/fault.ts";
import { HALF_OPEN } from "../../src/faults/half-open.ts";
import { STALL } from "../../src/faults/stall.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { type AuthProxy, startAuthProxy } from "../../src/stack/auth-proxy.ts";
import type { Cli, LocalProxy } from "../../src/stack/cli.ts";
import { CLUSTER_AUDIENCE } from "../../src/stack/issuer.ts";
import { expectWithin } from "../support/reliability/promise.ts";
import { allHear, openWatches } from "../support/reliability/watches.ts";
import { NO_END } from "../support/stack.ts";
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

const WATCHES = 10;
const LASTING_MS = 3_000;
const ON_WITHIN_MS = 10_000;
const TOKEN_SECONDS = 3_600;

/** A fault that lasts until what it returns has resolved. */
type Lasting = (at: Transport) => Promise<void>;

let authProxy: AuthProxy | undefined;
/** The auth proxy that runs now. */
const authProxyOf = ({ stack }: Transport): AuthProxy => authProxy ?? stack.authProxy;
afterAll(async () => {
  await authProxy?.stop();
});

const lasting =
  (begin: Break): Lasting =>
  async (at) => {
    const end = begin(at);
    await delay(LASTING_MS);
    end();
  };
const killRelay: Lasting = async ({ stack: { relay } }) => {
  relay.program.signal("SIGKILL");
  await relay.program.ended;
  await relay.start();
};
const killAgent: Lasting = async ({ stack: { agent } }) => {
  agent.program?.signal("SIGKILL");
  await agent.program?.ended;
  await agent.start();
};
const killAuthProxy: Lasting = async (at) => {
  const { stack, folder, keeper } = at;
  const { program } = authProxyOf(at);
  program.signal("SIGKILL");
  await program.ended;
  const { apiserverUrl: url, caPem } = stack.cluster;
  const apiserver = { url, caPem, tokenFile: join(folder, "auth-proxy-token") };
  const own = { folder: join(folder, "auth-proxy"), clusterId: stack.clusterId, issuerUrl: stack.issuer.url };
  authProxy = await startAuthProxy({ ...own, audience: stack.clusterAudience, apiserver, signal: NO_END }, { keeper });
};
const stopAuthProxy = lasting(stopped((at) => authProxyOf(at).program));

function callerToken({ stack }: Transport): Promise<string> {
  const iat = Math.floor(Date.now() / 1_000);
  const who = { sub: "viewer", preferred_username: "viewer", groups: ["viewers"] };
  return stack.issuer.sign({ ...who, iss: stack.issuer.url, aud: CLUSTER_AUDIENCE, iat, exp: iat + TOKEN_SECONDS });
}

async function beginWatches(): Promise<{
  readonly proxy: LocalProxy;
  readonly watches: Awaited<ReturnType<typeof openWatches>>;
}> {
  const proxy = await viewer.proxy([transport().stack.clusterId]);
  return { proxy, watches: await openWatches(proxy.port, await callerToken(transport()), WATCHES) };
}

const KEPT: readonly (readonly [string, Lasting, Lasting])[] = [
  ["the auth proxy is stopped, the callers' link is reset", stopAuthProxy, lasting(onLink("callerSide", CUT))],
  [
    "the auth proxy is stopped, the agent's link loses everything",
    stopAuthProxy,
    lasting(onLink("agentSide", HALF_OPEN)),
  ],
  ["the auth proxy is stopped, the relay is killed", stopAuthProxy, killRelay],
  [
    "the auth proxy's link stalls, the agent's is reset",
    lasting(onLink("authProxySide", STALL)),
    lasting(onLink("agentSide", CUT)),
  ],
];
const ENDED: readonly (readonly [string, Lasting, Lasting])[] = [
  ["the auth proxy is killed, the callers' link is reset", killAuthProxy, lasting(onLink("callerSide", CUT))],
  [
    "the auth proxy is killed, the agent's link loses everything",
    killAuthProxy,
    lasting(onLink("agentSide", HALF_OPEN)),
  ],
  ["the auth proxy and the relay are killed", killAuthProxy, killRelay],
  ["the auth proxy and the agent are killed", killAuthProxy, killAgent],
];

describe(`${WATCHES} watches, two faults at once, one of them at the auth proxy`, () => {
  test.each(KEPT)("nothing is lost when %s", async (name, first, second) => {
    const { proxy, watches } = await beginWatches();
    await Promise.all([first(transport()), second(transport())]);
    const from = performance.now();
    const told = `kept-${KEPT.findIndex(([other]) => other === name)}`;
    await transport().stack.kubectlAsAdmin(["create", "configmap", told, "--namespace=default"]);
    await allHear(watches, told, { signal: AbortSignal.timeout(BACK_MS) });
    await expectWithin(`two faults: ${name}`, ON_WITHIN_MS, performance.now() - from);
    for (const watch of watches) watch.close();
    await servedAgain(proxy);
    await proxy.stop();
  });

  test.each(ENDED)("each ends as broken, and a new request is served, when %s", async (name, first, second) => {
    const { proxy, watches } = await beginWatches();
    await Promise.all([first(transport()), second(transport())]);
    const from = performance.now();
    const ends = await Promise.all(watches.map((watch) => watch.ended));
    expect(ends.map(({ how }) => how)).toEqual(watches.map(() => "broken"));
    const lastAt = Math.max(...ends.map(({ at }) => at));
    await expectWithin(`two faults, watches ended: ${name}`, ON_WITHIN_MS, Math.max(0, lastAt - from));
    await servedAgain(proxy);
    await expectWithin(`two faults, a new request: ${name}`, ON_WITHIN_MS, performance.now() - from);
    await proxy.stop();
  });
});

describe("kubectl, whose agent is killed and replaced,", () => {
  test("ends with an error as soon as the next one is there", async () => {
    const { stack, tools, keeper } = transport();
    const proxy = await viewer.proxy([stack.clusterId]);
    const home = viewer.env["HOME"] ?? "";
    const kubectl = await keeper.start({
      name: "kubectl",
      command: tools.kubectl,
      args: ["get", "--raw", "/api/v1/namespaces/default/configmaps?watch=true"],
      env: { ...viewer.env, KUBECONFIG: proxy.kubeconfigPath },
      cwd: home,
      logPath: join(home, "kubectl-killed.log"),
    });
    const shown = (): Promise<string> => readFile(kubectl.logPath, "utf8");
    // Every namespace has this one.
    await expect.poll(shown, { timeout: BACK_MS }).toContain("kube-root-ca.crt");
    await killAgent(transport());
    const from = performance.now();
    const { code } = await kubectl.ended;
    await expectWithin("kubectl, its agent killed and replaced", REFUSED_WITHIN_MS, performance.now() - from);
    expect(code).toBe(1);
    expect(await shown()).toMatch(/error/i);
    await expect.poll(() => proxy.screen(), { timeout: BACK_MS }).toContain("CC_AGENT_REPLACED");
    await proxy.stop();
  });
});
