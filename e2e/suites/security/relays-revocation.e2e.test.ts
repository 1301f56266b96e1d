import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import { generateAgentKey } from "@cluster-connect/auth";
import { dialSession, type MuxStream, type Session } from "@cluster-connect/framing";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import {
  type ClusterId,
  ConnectError,
  type ErrorCode,
  parseClusterId,
  parseCorrelationId,
  parseInstanceId,
  toConnectError,
} from "@cluster-connect/protocol";
import { afterAll, describe, expect, test } from "vitest";
import { CUT } from "../../src/faults/cut.ts";
import { pollUntil } from "../../src/process/poll.ts";
import type { FleetRelay } from "../../src/stack/fleet.ts";
import { type Read, reader } from "../support/relays/conversation.ts";
import { missingForFleet, useFleet } from "../support/relays/fleet.ts";
import { dialLightAgent } from "../support/relays/light-agents.ts";
import { NO_END } from "../support/stack.ts";
import { sendHttps } from "../support/wire/https-client.ts";

const missing = missingForFleet();
const TIMEOUT_MS = 30_000;
/** Longer than anything that looks into the database pauses between two looks, and shorter than a lease. */
const AWAY_MS = 4_000;

/** A thing that an administrator takes away, and the end of the streams that lived by it. */
interface Deed {
  readonly what: string;
  /** Code of the reset that ends the callers' streams. */
  readonly code: ErrorCode;
  /** Whether the agent's tunnel ends too. */
  readonly endsTunnel: boolean;
  /** Code that refuses a new stream afterwards; undefined where no caller can ask on that session. */
  readonly afterwards: ErrorCode | undefined;
  readonly act: (stage: Stage) => Promise<void>;
}

/** A cluster whose one tunnel is at the second relay, with a caller there and one at the third, whose streams go round. */
interface Stage {
  readonly cluster: ClusterId;
  readonly keyId: string;
  readonly grantId: string;
  readonly username: string;
  readonly tunnel: Session;
  readonly callers: readonly Caller[];
}

interface Caller {
  readonly session: Session;
  readonly stream: MuxStream;
  readonly read: Read;
}

const DEEDS: readonly Deed[] = [
  {
    what: "the agent's key is revoked",
    code: "CC_AGENT_KEY_REFUSED",
    endsTunnel: true,
    afterwards: "CC_AGENT_OFFLINE",
    act: ({ keyId }) => admin("DELETE", `/v1/admin/keys/${keyId}`),
  },
  {
    what: "the grant is removed",
    code: "CC_GRANT_MISSING",
    endsTunnel: false,
    afterwards: "CC_CLUSTER_UNKNOWN",
    act: ({ grantId }) => admin("DELETE", `/v1/admin/grants/${encodeURIComponent(grantId)}`),
  },
  {
    what: "the callers' sessions are ended",
    code: "CC_SESSION_ENDED",
    endsTunnel: false,
    afterwards: undefined,
    act: async ({ username }) => {
      for (const id of await sessionsOf(username)) await admin("DELETE", `/v1/admin/sessions/${id}`);
    },
  },
  {
    what: "the cluster is disabled",
    code: "CC_AGENT_KEY_REFUSED",
    endsTunnel: true,
    afterwards: "CC_CLUSTER_UNKNOWN",
    act: ({ cluster }) => admin("PATCH", `/v1/admin/clusters/${cluster}`, { disabled: true }),
  },
];

const scene = missing === undefined ? useFleet({ clusters: [] }) : undefined;
const toClose: Session[] = [];
let stages = 0;

function relayAt(index: number): FleetRelay {
  const relay = scene?.().fleet.relays[index];
  if (relay === undefined) throw new Error("three relays");
  return relay;
}

/** Asks the first relay, which holds neither tunnel nor session. */
async function ask(method: string, path: string, body?: unknown): Promise<Readonly<Record<string, unknown>>> {
  const token = await scene?.().token({ sub: "root", groups: ["admins"] });
  const headers = [
    "Authorization",
    `Bearer ${token}`,
    ...(body === undefined ? [] : ["Content-Type", "application/json"]),
  ];
  const request = { method, path, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
  const answer = await sendHttps({ url: relayAt(0).url, ca: scene?.().fleet.caPem ?? "" }, request);
  const text = answer.body.toString();
  if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  const value: unknown = JSON.parse(text);
  return typeof value === "object" && value !== null ? { ...value } : {};
}

async function admin(method: string, path: string, body?: unknown): Promise<void> {
  await ask(method, path, body);
}

/** Both callers' sessions, which their relays write down within seconds. */
function sessionsOf(username: string): Promise<readonly string[]> {
  return pollUntil(
    async () => {
      const { items } = await ask("GET", `/v1/admin/sessions?username=${encodeURIComponent(username)}`);
      const found = Array.isArray(items) ? items.map(({ id }) => String(id)) : [];
      return found.length === 2 ? found : undefined;
    },
    { signal: AbortSignal.timeout(TIMEOUT_MS) },
  );
}

async function dialCaller(relay: FleetRelay, name: string): Promise<Session> {
  const token = await scene?.().token({ sub: name, preferred_username: name, groups: [] });
  const channel = await dialWebSocket(new URL("/v1/connect", relay.url), {
    signal: AbortSignal.timeout(TIMEOUT_MS),
    headers: { authorization: `Bearer ${token}` },
    tls: { ca: scene?.().fleet.caPem ?? "" },
  });
  const instanceId = parseInstanceId(randomBytes(12).toString("base64url"));
  const session = dialSession(channel, { role: "cli", instanceId, software: "revocation/0" });
  toClose.push(session);
  await session.ready;
  return session;
}

const openTo = (session: Session, cluster: ClusterId): MuxStream => {
  const correlationId = parseCorrelationId(randomBytes(16).toString("hex"));
  const stream = session.open({ cluster, upstream: "kubernetes", correlationId });
  stream.on("error", () => undefined);
  return stream;
};

/** Says something and hears it. */
async function talk({ stream, read }: Pick<Caller, "stream" | "read">): Promise<void> {
  const said = randomBytes(64);
  stream.write(said);
  expect((await read(said.length)).equals(said)).toBe(true);
}

async function setStage(): Promise<Stage> {
  stages += 1;
  const cluster = parseClusterId(`stage-${stages}`);
  const name = `caller-${stages}`;
  const username = `demo:${name}`;
  const key = generateAgentKey();
  await admin("POST", "/v1/admin/clusters", { id: cluster });
  await admin("POST", "/v1/admin/keys", { cluster, publicKey: key.publicKey });
  const { id } = await ask("POST", "/v1/admin/grants", { clusters: [cluster], users: [username] });
  const { fleet } = scene?.() ?? {};
  const { session: tunnel } = await dialLightAgent({
    relay: new URL(relayAt(1).url),
    authority: new URL(fleet?.url ?? "").host,
    ca: fleet?.caPem ?? "",
    clusterId: cluster,
    key,
    signal: NO_END,
  });
  toClose.push(tunnel);
  const at = async (relay: FleetRelay): Promise<Caller> => {
    const session = await dialCaller(relay, name);
    const stream = await pollUntil(
      async () => {
        const opened = openTo(session, cluster);
        // The grant is a row that this relay may not have read yet.
        return await opened.accepted.then(
          () => opened,
          () => undefined,
        );
      },
      { signal: AbortSignal.timeout(TIMEOUT_MS) },
    );
    const caller = { session, stream, read: reader(stream) };
    await talk(caller);
    return caller;
  };
  const callers = [await at(relayAt(1)), await at(relayAt(2))];
  return { cluster, keyId: key.keyId, grantId: String(id), username, tunnel, callers };
}

/** Waits until everything of the stage has ended as it has to, and says how long after `from` each did. */
async function ended(deed: Deed, stage: Stage, from: number): Promise<void> {
  const after = async <T>(wait: Promise<T>): Promise<readonly [T, number]> => [
    await wait,
    Math.round(performance.now() - from),
  ];
  const [streams, tunnel] = await Promise.all([
    Promise.all(stage.callers.map(({ stream }) => after(stream.done))),
    deed.endsTunnel ? after(stage.tunnel.closed) : undefined,
  ]);
  const codes = streams.map(([end]) => (end.kind === "reset" ? end.error.code : "finished"));
  const ms = { atItsRelay: streams[0]?.[1], forwarded: streams[1]?.[1], tunnel: tunnel?.[1] };
  process.stdout.write(`figures: ${deed.what}: ended after ms ${JSON.stringify(ms)} with ${codes.join(", ")}\n`);
  expect(new Set(codes)).toEqual(new Set([deed.code]));
  if (tunnel !== undefined) expect(tunnel[0].code).toBe("CC_AGENT_KEY_REFUSED");
  else expect(stage.tunnel.state).toBe("open");
  if (deed.afterwards === undefined) {
    for (const { session } of stage.callers) expect(session.state).toBe("closed");
    return;
  }
  for (const { session } of stage.callers) await refusedWith(deed.afterwards, session, stage.cluster);
}

/** Waits until a new stream is refused with the code; until a relay has heard, it may still try the former way. */
async function refusedWith(code: ErrorCode, session: Session, cluster: ClusterId): Promise<void> {
  const refusal = async (): Promise<true | undefined> => {
    const answer = await openTo(session, cluster).accepted.catch(toConnectError);
    expect(answer).toBeInstanceOf(ConnectError);
    return answer instanceof ConnectError && answer.code === code ? true : undefined;
  };
  await pollUntil(refusal, { signal: AbortSignal.timeout(TIMEOUT_MS) });
}

describe.skipIf(missing !== undefined)(
  `what the first relay takes away ends at the others${missing === undefined ? "" : `: ${missing}`}`,
  () => {
    afterAll(() => {
      for (const session of toClose) session.close();
    });

    test.each(DEEDS)("when $what, streams at the relay with the tunnel and those forwarded to it end", async (deed) => {
      const stage = await setStage();
      for (const one of stage.callers) await talk(one);
      const from = performance.now();
      await deed.act(stage);
      await ended(deed, stage, from);
    });

    test("when the others have no way to the database meanwhile, all goes on until it is back, and then ends", async () => {
      const all: (readonly [Deed, Stage])[] = [];
      for (const deed of DEEDS) all.push([deed, await setStage()]);
      for (const [, { username }] of all) await sessionsOf(username);
      const comesBack = scene?.().storeFaults.begin(CUT);
      await Promise.all(all.map(([deed, stage]) => deed.act(stage)));
      const until = performance.now() + AWAY_MS;
      while (performance.now() < until) {
        for (const [, { callers }] of all) await Promise.all(callers.map(talk));
      }
      comesBack?.();
      const from = performance.now();
      await Promise.all(all.map(([deed, stage]) => ended(deed, stage, from)));
    });
  },
);
