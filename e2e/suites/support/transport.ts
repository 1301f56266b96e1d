import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { MuxStream } from "@cluster-connect/framing";
import { afterAll, beforeAll, expect } from "vitest";
import { type Echo, startEcho } from "../../src/faults/echo.ts";
import { type FaultProxy, startFaultProxy } from "../../src/faults/fault-proxy.ts";
import { readMetrics } from "../../src/faults/metrics.ts";
import { type RawLink, startRawLink } from "../../src/faults/raw-link.ts";
import { freePort } from "../../src/process/free-port.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { authProxySocket } from "../../src/stack/auth-proxy.ts";
import { type Cli, createCli } from "../../src/stack/cli.ts";
import { RELAY_AUDIENCE } from "../../src/stack/issuer.ts";
import { NO_END, type SuiteStack, useStack } from "./stack.ts";

/** A stack with a network that can fail between its hops, and raw streams through it. */
export interface Transport extends SuiteStack {
  /** Between a caller and the relay. */
  readonly callerSide: FaultProxy;
  /** Between the agent and the relay, and between the agent and the auth proxy. */
  readonly agentSide: FaultProxy;
  readonly authProxySide: FaultProxy;
  readonly caPem: string;
  /** Callers' relay address. */
  readonly relayUrl: string;
  /** A channel of its own to the relay; the suite closes it. */
  link(): RawLink;
  /** The CLI of a person who signed in. */
  person(user: string): Promise<Cli>;
  relayMetrics(): Promise<ReadonlyMap<string, number>>;
  agentMetrics(): Promise<ReadonlyMap<string, number>>;
}

/** Names of the agent's raw upstreams. */
export const ECHO = "echo";
export const SOURCE = "source";
/** One that no grant names. */
export const UNGRANTED = "ungranted";
/** One that a grant names and the agent does not have. */
export const UNSERVED = "unserved";

const TOKEN_SECONDS = 3_600;
const BASELINE_TIMEOUT_MS = 60_000;

/** Starts it before the file's tests and ends it after them. */
export function useTransport(): () => Transport {
  let callerSide: FaultProxy | undefined;
  let agentSide: FaultProxy | undefined;
  let authProxySide: FaultProxy | undefined;
  let transport: Transport | undefined;
  const ports = { relay: 0, health: 0 };
  const suite = useStack(async ({ folder, keeper }) => {
    ports.relay = await freePort();
    ports.health = await freePort();
    callerSide = await startFaultProxy(ports.relay);
    agentSide = await startFaultProxy(ports.relay);
    authProxySide = await startFaultProxy(authProxySocket(join(folder, "auth-proxy")));
    const echo: Echo = await startEcho({ folder, signal: NO_END }, { keeper });
    return {
      relayBehind: { publicUrl: `https://127.0.0.1:${agentSide.port}`, port: ports.relay },
      // One caller opens thousands of streams here, as fast as it can.
      relayLimits: { opensPerSecondPerCaller: 100_000 },
      grantedUpstreams: [ECHO, SOURCE, UNSERVED],
      agent: {
        upstreams: {
          [ECHO]: `127.0.0.1:${echo.echoPort}`,
          [SOURCE]: `127.0.0.1:${echo.sourcePort}`,
          [UNGRANTED]: `127.0.0.1:${echo.echoPort}`,
        },
        healthPort: ports.health,
        authProxyAddress: `127.0.0.1:${authProxySide.port}`,
      },
    };
  });
  beforeAll(async () => {
    if (callerSide === undefined || agentSide === undefined || authProxySide === undefined) {
      throw new Error("the stack is not up");
    }
    transport = await describe(suite(), { callerSide, agentSide, authProxySide }, ports);
  });
  afterAll(async () => {
    await Promise.all([callerSide?.stop(), agentSide?.stop(), authProxySide?.stop()]);
  });
  return () => {
    if (transport === undefined) throw new Error("the stack is not up");
    return transport;
  };
}

async function describe(
  suite: SuiteStack,
  sides: Pick<Transport, "callerSide" | "agentSide" | "authProxySide">,
  ports: { readonly relay: number; readonly health: number },
): Promise<Transport> {
  const { stack, tools, keeper, folder } = suite;
  const { caFile } = stack.relay;
  if (caFile === undefined) throw new Error("the relay has no authority");
  const caPem = await readFile(caFile, "utf8");
  const relayUrl = `https://127.0.0.1:${sides.callerSide.port}`;
  return {
    ...suite,
    ...sides,
    caPem,
    relayUrl,
    link: () => startRawLink({ relay: relayUrl, caPem, cluster: stack.clusterId, token: () => relayToken(suite) }),
    person: async (user) => {
      const relay = { url: relayUrl, caFile };
      const authorities = { [stack.clusterId]: stack.authProxy.caFile };
      const own = { folder: join(folder, `far-${user}`), relay, path: tools.path, signal: NO_END };
      const options = { ...own, authorities };
      const cli = await createCli(options, { keeper });
      await cli.login(user, "browser");
      return cli;
    },
    relayMetrics: () => readMetrics(`https://127.0.0.1:${ports.relay}/metrics`, caPem),
    agentMetrics: () => readMetrics(`http://127.0.0.1:${ports.health}/metrics`),
  };
}

function relayToken({ stack }: SuiteStack): Promise<string> {
  const now = Math.floor(Date.now() / 1_000);
  return stack.issuer.sign({
    iss: stack.issuer.url,
    aud: RELAY_AUDIENCE,
    sub: "viewer",
    preferred_username: "viewer",
    groups: ["viewers"],
    iat: now,
    exp: now + TOKEN_SECONDS,
  });
}

/** Says something to an echo and hears it. */
export async function answers(stream: MuxStream, said: Buffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const heard: Buffer[] = [];
  let left = said.length;
  const onData = (chunk: Buffer): void => {
    heard.push(chunk);
    left -= chunk.length;
    if (left <= 0) resolve(Buffer.concat(heard));
  };
  void stream.done.then((end) => reject(new Error(`the stream is over: ${JSON.stringify(end)}`)));
  stream.on("data", onData);
  stream.resume(); // after a pause a listener alone does not
  stream.write(said);
  const back = await promise;
  stream.off("data", onData);
  stream.pause();
  expect(back.equals(said)).toBe(true);
}

/** Half-closes and waits until the other side has, too. */
export async function finish(stream: MuxStream): Promise<void> {
  stream.resume();
  stream.end();
  expect(await stream.done).toEqual({ kind: "finished" });
}

/** Waits until no stream is counted any more at relay and agent. */
export async function atBaseline(transport: Transport): Promise<void> {
  const counted = async (): Promise<readonly unknown[]> => {
    const [relay, agent] = await Promise.all([transport.relayMetrics(), transport.agentMetrics()]);
    return [
      relay.get("streams"),
      agent.get("streams"),
      agent.get("streams_suspended"),
      agent.get("stream_retained_bytes"),
    ];
  };
  let last: readonly unknown[] = [];
  const zero = pollUntil(
    async () => {
      last = await counted();
      return last.every((number) => number === 0) ? true : undefined;
    },
    { signal: AbortSignal.timeout(BASELINE_TIMEOUT_MS) },
  );
  await zero.catch(() => expect(last).toEqual([0, 0, 0, 0]));
}
