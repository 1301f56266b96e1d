import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { request } from "node:https";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { reader } from "./relays/conversation.ts";
import { serverNameOf } from "./relays/named-cluster.ts";

/** A cluster behind the local port of a CLI. */
export interface LocalCluster {
  readonly port: number;
  readonly cluster: string;
  readonly ca: string;
}

/** A caller behind a CLI: one conversation that goes on all the time, and requests one after the other. */
export interface CliTalk {
  readonly heard: number;
  readonly answered: number;
  /** Milliseconds: the longest until an answer in the conversation, and until a request that was repeated was answered. */
  readonly longestPauseMs: number;
  readonly longestRequestMs: number;
  /** Requests that failed, by what they said. */
  readonly failures: ReadonlyMap<string, number>;
  /** @throws Error when anything was lost, changed or from another cluster. */
  end(): Promise<void>;
}

const SENTENCE_BYTES = 512;
const PAUSE_MS = 50;
const REQUEST_PAUSE_MS = 300;
const RETRY_MS = 25;
const TIMEOUT_MS = 10_000;

class WrongCluster extends Error {}

export async function startCliTalk(local: LocalCluster): Promise<CliTalk> {
  const stop = new AbortController();
  const stream = await upgrade(local);
  const read = reader(stream);
  const name = (await read(local.cluster.length + 1)).toString();
  if (name !== `${local.cluster}\n`) throw new WrongCluster(`asked for ${local.cluster}, reached ${name.trim()}`);
  const failures = new Map<string, number>();
  const talk = { heard: 0, answered: 0, longestPauseMs: 0, longestRequestMs: 0 };

  async function converse(): Promise<void> {
    while (!stop.signal.aborted) {
      const sentence = randomBytes(SENTENCE_BYTES);
      const at = performance.now();
      stream.write(sentence);
      const answer = await read(SENTENCE_BYTES);
      talk.longestPauseMs = Math.max(talk.longestPauseMs, performance.now() - at);
      if (!answer.equals(sentence)) throw new Error(`sentence ${talk.heard} to ${local.cluster} came back changed`);
      talk.heard += 1;
      await pause(PAUSE_MS);
    }
    stream.destroy();
  }

  async function ask(): Promise<void> {
    while (!stop.signal.aborted) {
      const at = performance.now();
      while (!(await attempt())) {
        if (stop.signal.aborted) return;
        await pause(RETRY_MS);
      }
      talk.answered += 1;
      talk.longestRequestMs = Math.max(talk.longestRequestMs, performance.now() - at);
      await pause(REQUEST_PAUSE_MS);
    }
  }

  async function attempt(): Promise<boolean> {
    try {
      const version = await versionOf(local);
      if (version === local.cluster) return true;
      throw new WrongCluster(`asked for ${local.cluster}, reached ${version}`);
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : "";
      // Another certificate means another cluster.
      if (error instanceof WrongCluster || /CERT|SIGNATURE|ALTNAME|ISSUER/.test(code)) throw error;
      const what = code === "" && error instanceof Error ? error.message : code;
      failures.set(what, (failures.get(what) ?? 0) + 1);
      return false;
    }
  }

  const pause = (ms: number): Promise<unknown> => delay(ms, undefined, { signal: stop.signal }).catch(() => undefined);
  const done = Promise.all([converse(), ask()]);
  done.catch(() => undefined);
  return {
    failures,
    get heard() {
      return talk.heard;
    },
    get answered() {
      return talk.answered;
    },
    get longestPauseMs() {
      return talk.longestPauseMs;
    },
    get longestRequestMs() {
      return talk.longestRequestMs;
    },
    async end() {
      stop.abort();
      await done;
    },
  };
}

const options = ({ port, cluster, ca }: LocalCluster) =>
  ({ host: "127.0.0.1", port, ca, servername: serverNameOf(cluster), agent: false }) as const;

async function upgrade(local: LocalCluster): Promise<Duplex> {
  const headers = { connection: "Upgrade", upgrade: "echo" };
  const outgoing = request({ ...options(local), path: "/echo", headers }).end();
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  outgoing.once("error", reject);
  outgoing.once("upgrade", (_response, socket: Duplex, head: Buffer) => {
    socket.on("error", () => undefined);
    socket.unshift(head);
    resolve(socket);
  });
  return await promise;
}

async function versionOf(local: LocalCluster): Promise<string> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const outgoing = request({ ...options(local), path: "/version", signal }).end();
  const [response] = await once(outgoing, "response");
  const value: { readonly gitVersion?: unknown } = JSON.parse(await text(response));
  return String(value.gitVersion);
}
