import { once } from "node:events";
import { createServer } from "node:net";

/** Below the ports that systems give to outgoing connections and to port 0, so that nothing takes one by chance. */
const FIRST = 15_000;
const COUNT = 15_000;

/**
 * A loopback TCP port that was free a moment ago; its user must be ready to lose it to another process.
 *
 * Processes beside this one choose as well: it is one of many, by chance.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * COUNT);
    if (await isFree(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const listener = createServer();
  try {
    listener.listen(port, "127.0.0.1");
    await once(listener, "listening");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EADDRINUSE") return false;
    throw error;
  }
  listener.close();
  await once(listener, "close");
  return true;
}
