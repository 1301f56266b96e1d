import { once } from "node:events";
import { createServer } from "node:net";

/** Below those that the kernel hands out for outgoing connections, so that none is taken between here and its use. */
const [LOWEST, COUNT] = [12_000, 20_000] as const;

/** A port on 127.0.0.1 that nothing listens on. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * COUNT);
    const server = createServer();
    const listening = once(server, "listening").then(
      () => true,
      () => false,
    );
    server.listen(port, "127.0.0.1");
    if (!(await listening)) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}
