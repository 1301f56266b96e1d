import type { Duplex } from "node:stream";
import type { Clock, Timer } from "@cluster-connect/base";
import { LINGER_BYTES, LINGER_CHECK_MS, LINGER_MS, LINGER_QUIET_MS } from "../limits/limits.ts";

/**
 * Ends our side and goes on taking and dropping the caller's bytes, for a bounded time and number of bytes.
 *
 * The kernel resets a socket that is closed with unread bytes in it. The reset costs the caller the answer.
 *
 * @see RFC 9112, section 9.6
 */
export function linger(stream: Duplex, clock: Pick<Clock, "setTimer">): void {
  if (stream.destroyed) return;
  let bytes = 0;
  let quietMs = 0;
  let leftMs = LINGER_MS;
  let timer: Timer | undefined;
  const check = (): void => {
    quietMs += LINGER_CHECK_MS;
    leftMs -= LINGER_CHECK_MS;
    if (quietMs >= LINGER_QUIET_MS || leftMs <= 0) stream.destroy();
    else timer = clock.setTimer(LINGER_CHECK_MS, check);
  };
  stream.on("data", (chunk: Buffer) => {
    quietMs = 0;
    bytes += chunk.length;
    if (bytes > LINGER_BYTES) stream.destroy();
  });
  stream.on("error", () => stream.destroy());
  stream.once("end", () => stream.destroy());
  stream.once("close", () => timer?.cancel());
  stream.end();
  stream.resume();
  timer = clock.setTimer(LINGER_CHECK_MS, check);
}
