import { once } from "node:events";
import type { Server } from "node:http";
import { onTestFinished } from "vitest";

/** Has a server listen on a free port of this machine until the test ends. @returns its address, without a path. */
export async function listenLocally(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, "listening");
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
}
