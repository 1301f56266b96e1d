import { randomBytes } from "node:crypto";
import { request } from "node:https";
import { setTimeout as delay } from "node:timers/promises";
import { dialSession, type Session } from "@cluster-connect/framing";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import {
  DEFAULT_HELLO_LIMITS,
  encodeHeader,
  encodeHello,
  encodeU64,
  type FrameType,
  HEADER_BYTES,
  OWN_VERSIONS,
  parseClusterId,
  parseCorrelationId,
  parseInstanceId,
} from "@cluster-connect/protocol";

export interface FloodTarget {
  readonly url: URL;
  readonly ca: string;
}

type Figures = Readonly<Record<string, unknown>>;

const DIAL_TIMEOUT_MS = 60_000;
/** A relay that takes nothing for so long has stopped reading. */
const STUCK_MS = 2_000;
const QUEUE_BYTES = 1_048_576;

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
const newId = (): ReturnType<typeof parseInstanceId> => parseInstanceId(randomBytes(12).toString("base64url"));

async function channel({ url, ca }: FloodTarget, token: string): ReturnType<typeof dialWebSocket> {
  const headers = { authorization: `Bearer ${token}` };
  const signal = AbortSignal.timeout(DIAL_TIMEOUT_MS);
  return await dialWebSocket(new URL("/v1/connect", url), { signal, headers, tls: { ca } });
}

async function session(target: FloodTarget, token: string): Promise<Session> {
  const dialed = dialSession(await channel(target, token), { role: "cli", instanceId: newId(), software: "flood/0" });
  await dialed.ready;
  return dialed;
}

function streamTo(cluster: string): Parameters<Session["open"]>[0] {
  const correlationId = parseCorrelationId("0123456789abcdef");
  return { cluster: parseClusterId(cluster), upstream: "kubernetes", correlationId };
}

/** One stream in frames of one byte each. */
export async function sendSmallFrames(
  attack: { readonly count: number; readonly token: string; readonly cluster: string },
  target: FloodTarget,
): Promise<Figures> {
  const own = await session(target, attack.token);
  const stream = own.open(streamTo(attack.cluster));
  let bytesBack = 0;
  const reading = (async () => {
    for await (const chunk of stream) bytesBack += Buffer.isBuffer(chunk) ? chunk.length : 0;
  })();
  for (let sent = 0; sent < attack.count; sent += 1) {
    stream.write("x");
    await turn();
  }
  stream.end();
  await reading;
  own.close();
  return { bytesBack };
}

/** Streams that are opened and reset at once. */
export async function resetStreams(
  attack: { readonly count: number; readonly token: string; readonly cluster: string },
  target: FloodTarget,
): Promise<Figures> {
  const own = await session(target, attack.token);
  let refusedHere = 0;
  for (let opened = 0; opened < attack.count; opened += 1) {
    try {
      const stream = own.open(streamTo(attack.cluster));
      stream.on("error", () => undefined);
      stream.reset("CC_CANCELLED", "never mind");
    } catch {
      refusedHere += 1;
    }
    if (opened % 100 === 0) await turn();
  }
  const code = own.state === "closed" ? ((await own.closed).code ?? "ok") : "still open";
  own.close();
  return { refusedHere, session: code };
}

/** Pings without an end, with answers that stay unread. */
export async function floodPings(
  attack: { readonly count: number; readonly token: string },
  target: FloodTarget,
): Promise<Figures> {
  const raw = await channel(target, attack.token);
  let ended = false;
  raw.listen({
    message: () => undefined,
    drain: () => undefined,
    close: () => {
      ended = true;
    },
  });
  const software = "flood/0";
  const hello = { versions: OWN_VERSIONS, instanceId: newId(), software, limits: DEFAULT_HELLO_LIMITS };
  raw.append([frame("HELLO", encodeHello({ ...hello, role: "cli" }))]);
  raw.flush();
  raw.pause();
  let sent = 0;
  for (; sent < attack.count && !ended; sent += 1) {
    raw.append([frame("PING", encodeU64(sent))]);
    if (sent % 500 !== 0) continue;
    raw.flush();
    await turn();
    const until = Date.now() + STUCK_MS;
    while (raw.bufferedBytes > QUEUE_BYTES && !ended && Date.now() < until) await delay(10);
    if (raw.bufferedBytes > QUEUE_BYTES) break;
  }
  const stuck = raw.bufferedBytes > QUEUE_BYTES;
  raw.terminate();
  return { sent, ended, stuck };
}

function frame(type: FrameType, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + payload.length);
  encodeHeader(bytes, 0, { type, streamId: 0, length: payload.length });
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/** Requests with more headers than any client needs. */
export async function floodHeaders(
  attack: { readonly count: number; readonly lines: number; readonly bytes: number },
  target: FloodTarget,
): Promise<Figures> {
  const headers = Object.fromEntries(
    Array.from({ length: attack.lines }, (_, n) => [`x-${n}`, "y".repeat(attack.bytes)]),
  );
  const answers = await Promise.all(Array.from({ length: attack.count }, () => answerOf(headers, target)));
  return Object.fromEntries(
    [...new Set(answers)].map((status) => [status, answers.filter((a) => a === status).length]),
  );
}

function answerOf(headers: Readonly<Record<string, string>>, { url, ca }: FloodTarget): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const asked = request(new URL("/v1/clusters", url), { ca, headers, agent: false }, (response) => {
    response.resume();
    resolve(String(response.statusCode));
  });
  asked.on("error", () => resolve("closed"));
  asked.end();
  return promise;
}
