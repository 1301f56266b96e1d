import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { createAuthority } from "../../../src/cluster/control-plane/certificates.ts";
import { type Keeper, startKeeper } from "../../../src/process/keeper.ts";
import { type Agent, type AgentOptions, copyAgentState, startAgent } from "../../../src/stack/agent.ts";
import { type Cli, createCli } from "../../../src/stack/cli.ts";
import { CLUSTER_AUDIENCE, type Issuer, RELAY_AUDIENCE, startIssuer } from "../../../src/stack/issuer.ts";
import { type Relay, startRelay } from "../../../src/stack/relay.ts";
import { NO_END } from "../stack.ts";
import { serveCluster } from "./named-cluster.ts";

/** The bytes that one connection brought, by the number that its first four bytes are. */
export interface Sunk {
  readonly bytes: number;
  readonly sha256: string;
  /** Whether the end came in order, after the bytes. */
  readonly isWhole: boolean;
}

/** Relay, agent and a cluster that takes bytes; the last of them only when they are asked for. */
export interface SinkScene {
  readonly keeper: Keeper;
  readonly folder: string;
  readonly issuer: Issuer;
  readonly relay: Relay;
  readonly agent: Agent;
  /**
   * The command line of somebody who has tokens.
   *
   * @param who the group in them, and the file with the cluster's authority; viewers and the true one without it.
   */
  cli(name: string, who?: { readonly group?: string; readonly caFile?: string }): Promise<Cli>;
  /** Another cluster with another authority, whose agent has a copy of the true one's state. */
  startCopy(): Promise<Copy>;
  /** Lets the connection with this number be read to its end. */
  release(id: number): void;
  sunk(id: number): Promise<Sunk>;
}

/** A cluster that shares the agent's key. */
export interface Copy {
  readonly agent: Agent;
  readonly caFile: string;
  /** Connections that reached its server. */
  readonly connections: () => number;
}

const CLUSTER = "sink";
const TOKEN_SECONDS = 3_600;
/** So many of a connection's bytes are read before it is released; the rest has room on its way. */
const READ_AT_ONCE_BYTES = 1_900_000;
const ID_BYTES = 4;

interface Place {
  readonly released: PromiseWithResolvers<void>;
  readonly done: PromiseWithResolvers<Sunk>;
}

/** Starts it before the file's tests and ends it after them; it takes no Kubernetes. */
export function useSink(): () => SinkScene {
  const ends: (() => unknown)[] = [];
  let scene: SinkScene | undefined;
  beforeAll(async () => {
    scene = await startSink((end) => ends.unshift(end));
  });
  afterAll(async () => {
    for (const end of ends) await end();
  });
  return () => {
    if (scene === undefined) throw new Error("the scene is not set");
    return scene;
  };
}

async function startSink(atEnd: (end: () => unknown) => void): Promise<SinkScene> {
  const keeper = await startKeeper();
  atEnd(() => keeper.stop());
  const folder = await mkdtemp(join(tmpdir(), "cc-sink-"));
  atEnd(() => rm(folder, { recursive: true, force: true }));
  const at = (name: string): string => join(folder, name);
  await mkdir(at("i"));
  const issuer = await startIssuer({ folder: at("i"), signal: NO_END }, { keeper });
  const relay = await startRelay(
    { folder: at("r"), signal: NO_END, issuerUrl: issuer.url },
    { keeper, now: () => new Date() },
  );
  const places = createPlaces();
  const health = createServer((_request, response) => {
    const checks = [{ name: "apiserver", ok: true, text: "ok" }];
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ ok: true, checks }));
  });
  await new Promise<void>((resolve) => health.listen(0, "127.0.0.1", resolve));
  atEnd(() => health.close());
  const address = health.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  let copied = 0;
  const serve = async (name: string, raw: (socket: Socket) => void): Promise<AgentOptions["authProxy"]> => {
    const authority = await createAuthority(CLUSTER, { now: () => new Date() });
    const caFile = at(`${name}.crt`);
    await writeFile(caFile, authority.certPem);
    const socket = at(`${name}.sock`);
    const count = (): void => {
      if (name !== "t") copied += 1;
    };
    atEnd(await serveCluster(CLUSTER, socket, authority, { raw, count }));
    return { socket, healthUrl: `http://127.0.0.1:${port}/readyz`, caFile };
  };
  const authProxy = await serve("t", (socket) => void sink(socket, places));
  const code = await relay.enrollmentCode(CLUSTER, { signal: NO_END });
  const agent = await startAgent({ folder: at("a"), signal: NO_END, relay, authProxy, code }, { keeper });
  return {
    keeper,
    folder,
    issuer,
    relay,
    agent,
    startCopy: async () => {
      const other = await serve("c", (socket) => void socket.destroy());
      await copyAgentState(join(at("a"), "state"), join(at("b"), "state"));
      const options = { folder: at("b"), signal: NO_END, relay, authProxy: other, code: "used" };
      const copy = await startAgent(options, { keeper });
      return { agent: copy, caFile: other.caFile, connections: () => copied };
    },
    cli: async (name, { group = "viewers", caFile = authProxy.caFile } = {}) => {
      const env = {
        CLUSTER_CONNECT_RELAY: relay.url,
        CLUSTER_CONNECT_CA_FILE: relay.caFile ?? "",
        CLUSTER_CONNECT_RELAY_TOKEN: await sign(issuer, RELAY_AUDIENCE, group),
        CLUSTER_CONNECT_TOKEN: await sign(issuer, CLUSTER_AUDIENCE, group),
      };
      const authorities = { [CLUSTER]: caFile };
      const options = { folder: at(name), relay, authorities, path: "/usr/bin:/bin", signal: NO_END, env };
      return await createCli(options, { keeper });
    },
    release: (id) => places(id).released.resolve(),
    sunk: (id) => places(id).done.promise,
  };
}

function createPlaces(): (id: number) => Place {
  const places = new Map<number, Place>();
  return (id) => {
    const place = places.get(id) ?? { released: Promise.withResolvers(), done: Promise.withResolvers() };
    places.set(id, place);
    return place;
  };
}

async function sink(socket: Socket, places: (id: number) => Place): Promise<void> {
  const hash = createHash("sha256");
  let bytes = 0;
  let head = Buffer.alloc(0);
  let place: Place | undefined;
  let isWhole = true;
  socket.on("error", () => {
    isWhole = false;
  });
  try {
    for await (const chunk of socket) {
      if (!Buffer.isBuffer(chunk)) continue;
      if (head.length < ID_BYTES) head = Buffer.concat([head, chunk]);
      if (head.length >= ID_BYTES) place ??= places(head.readUInt32BE(0));
      hash.update(chunk);
      bytes += chunk.length;
      if (bytes >= READ_AT_ONCE_BYTES) await place?.released.promise;
    }
  } catch {
    isWhole = false;
  }
  place?.done.resolve({ bytes, sha256: hash.digest("hex"), isWhole });
  socket.end();
}

function sign(issuer: Issuer, aud: string, group: string): Promise<string> {
  const exp = Math.floor(Date.now() / 1_000) + TOKEN_SECONDS;
  const claims = { iss: issuer.url, sub: group, preferred_username: group, groups: [group] };
  return issuer.sign({ ...claims, aud, exp });
}
