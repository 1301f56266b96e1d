/** A long path: every byte arrives half a round trip later, in order, at any rate. */
import { connect, createServer, type Socket } from "node:net";
import { listen } from "../local-server.ts";
import { readSettings } from "../settings.ts";

interface Settings {
  /** Where the path leads. */
  readonly port: number;
  readonly rttMs: number;
}

/** Bytes under way in one direction; far more than rate and delay of any subject need. */
const MAX_QUEUED_BYTES = 67_108_864;

const { port, rttMs } = readSettings<Settings>(process.argv);

function delayed(from: Socket, to: Socket): void {
  const queue: Array<{ readonly at: number; readonly chunk: Buffer | undefined }> = [];
  let queuedBytes = 0;
  let ended = false;
  let timer: NodeJS.Timeout | undefined;
  const arrive = (): void => {
    timer = undefined;
    const now = performance.now();
    while (queue[0] !== undefined && queue[0].at <= now) {
      const chunk = queue.shift()?.chunk;
      if (chunk === undefined) to.end();
      else {
        queuedBytes -= chunk.length;
        to.write(chunk);
      }
    }
    if (queuedBytes + to.writableLength < MAX_QUEUED_BYTES) from.resume();
    wait();
  };
  const wait = (): void => {
    const next = queue[0];
    if (next === undefined || timer !== undefined) return;
    timer = setTimeout(arrive, Math.max(0, next.at - performance.now()));
  };
  const leave = (chunk: Buffer | undefined): void => {
    queue.push({ at: performance.now() + rttMs / 2, chunk });
    queuedBytes += chunk?.length ?? 0;
    if (queuedBytes + to.writableLength >= MAX_QUEUED_BYTES) from.pause();
    wait();
  };
  from.on("data", leave);
  from.once("end", () => {
    ended = true;
    leave(undefined);
  });
  to.on("drain", () => from.resume());
  from.once("close", () => {
    // Bytes under way still arrive, unless the connection broke off.
    if (ended) return;
    clearTimeout(timer);
    to.destroy();
  });
  from.on("error", () => to.destroy());
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
  const far = connect({ host: "127.0.0.1", port, allowHalfOpen: true, noDelay: true });
  delayed(near, far);
  delayed(far, near);
});

process.send?.(await listen(server));
