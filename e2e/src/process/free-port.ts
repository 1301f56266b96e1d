import { once } from "node:events";
import { createServer } from "node:net";

/** A loopback TCP port that was free a moment ago; whoever uses it must be ready to lose it to somebody else. */
export async function freePort(): Promise<number> {
  const listener = createServer();
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const address = listener.address();
  listener.close();
  await once(listener, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}
