import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { SYSTEM_CLOCK, wait } from "@cluster-connect/base";
import { type ErrorCode, toConnectError } from "@cluster-connect/protocol";
import type { RawLink } from "../../../src/faults/raw-link.ts";
import { NO_END } from "../stack.ts";
import { NAMED_ECHO } from "./fleet.ts";

/** A caller that talks to a cluster all the time: each answer has to repeat the sentence, from the right cluster. */
export interface Conversation {
  /** Sentences that came back so far. */
  readonly heard: number;
  /** The longest time between a sentence and its answer. */
  readonly longestMs: number;
  /** Says nothing more. @throws Error when anything was lost, repeated or from another cluster. */
  end(): Promise<void>;
}

/** A caller that opens streams one after the other. */
export interface Opener {
  readonly opened: number;
  /** From the first attempt of a stream to the first byte of the right cluster, the longest. */
  readonly longestMs: number;
  /** Codes of attempts that failed, and how often. */
  readonly failures: ReadonlyMap<string, number>;
  end(): Promise<void>;
}

const SENTENCE_BYTES = 512;
const PAUSE_MS = 40;
const OPEN_PAUSE_MS = 250;
const RETRY_MS = 20;

/** Reads exactly so many bytes. @throws when the stream ends before. */
export type Read = (count: number) => Promise<Buffer>;

export function reader(stream: Duplex): Read {
  const chunks = stream[Symbol.asyncIterator]();
  let held = Buffer.alloc(0);
  return async (count) => {
    while (held.length < count) {
      const next = await chunks.next();
      if (next.done === true) throw new Error(`the stream ended, ${held.length} of ${count} bytes were there`);
      held = Buffer.concat([held, next.value]);
    }
    const bytes = held.subarray(0, count);
    held = held.subarray(count);
    return bytes;
  };
}

async function expectCluster(read: Read, cluster: string): Promise<void> {
  const said = (await read(cluster.length + 1)).toString();
  if (said !== `${cluster}\n`) throw new WrongCluster(`asked for ${cluster}, reached ${said.trim()}`);
}

class WrongCluster extends Error {}

export async function startConversation(link: RawLink, cluster: string): Promise<Conversation> {
  const stop = new AbortController();
  // Aborted later, this signal would reset the stream.
  const stream = await link.open(NAMED_ECHO, { signal: NO_END, reopen: true });
  const read = reader(stream);
  await expectCluster(read, cluster);
  let heard = 0;
  let longestMs = 0;
  const talk = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const sentence = randomBytes(SENTENCE_BYTES);
      const at = performance.now();
      stream.write(sentence);
      const answer = await read(SENTENCE_BYTES);
      longestMs = Math.max(longestMs, performance.now() - at);
      if (!answer.equals(sentence)) throw new Error(`sentence ${heard} to ${cluster} came back changed`);
      heard += 1;
      await wait(PAUSE_MS, { signal: stop.signal }, { clock: SYSTEM_CLOCK }).catch(() => undefined);
    }
    stream.end();
    stream.resume();
    await stream.done;
  };
  const done = talk();
  done.catch(() => undefined);
  return {
    get heard() {
      return heard;
    },
    get longestMs() {
      return longestMs;
    },
    async end() {
      stop.abort();
      await done;
    },
  };
}

/** A stream that stays unused until its replica may be gone. */
export interface QuietStream {
  /**
   * Says something: whether it is answered, or the code with which the stream ends; and milliseconds since `from`.
   */
  fate(from: number): Promise<{ readonly ms: number; readonly code: ErrorCode | undefined }>;
}

export async function openQuietStream(link: RawLink, cluster: string): Promise<QuietStream> {
  const stream = await link.open(NAMED_ECHO, { signal: NO_END });
  // `done` tells the cause of its end, too.
  stream.on("error", () => {});
  const read = reader(stream);
  await expectCluster(read, cluster);
  return {
    async fate(from) {
      const ended = stream.done.then((end) => (end.kind === "reset" ? end.error.code : undefined));
      stream.write("?");
      const answered = read(1).then(
        () => undefined,
        () => ended,
      );
      const code = await Promise.race([answered, ended]);
      const ms = Math.round(performance.now() - from);
      stream.destroy();
      return { ms, code };
    },
  };
}

export function startOpener(link: RawLink, cluster: string): Opener {
  const stop = new AbortController();
  const failures = new Map<string, number>();
  let opened = 0;
  let longestMs = 0;
  const attempt = async (): Promise<boolean> => {
    const timeout = AbortSignal.any([stop.signal, AbortSignal.timeout(10_000)]);
    try {
      const stream = await link.open(NAMED_ECHO, { signal: timeout, reopen: true });
      await expectCluster(reader(stream), cluster);
      stream.destroy();
      return true;
    } catch (error) {
      if (error instanceof WrongCluster) throw error;
      if (stop.signal.aborted) return false;
      const { code } = toConnectError(error);
      failures.set(code, (failures.get(code) ?? 0) + 1);
      return false;
    }
  };
  const run = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const at = performance.now();
      while (!(await attempt())) {
        if (stop.signal.aborted) return;
        await wait(RETRY_MS, { signal: stop.signal }, { clock: SYSTEM_CLOCK }).catch(() => undefined);
      }
      opened += 1;
      longestMs = Math.max(longestMs, performance.now() - at);
      await wait(OPEN_PAUSE_MS, { signal: stop.signal }, { clock: SYSTEM_CLOCK }).catch(() => undefined);
    }
  };
  const done = run();
  done.catch(() => undefined);
  return {
    failures,
    get opened() {
      return opened;
    },
    get longestMs() {
      return longestMs;
    },
    async end() {
      stop.abort();
      await done;
    },
  };
}
