/** The simplest hop there is: bytes from one TCP connection to another. */
import { connect, createServer } from "node:net";
import { listen } from "../local-server.ts";
import { readSettings } from "../settings.ts";

const { port } = readSettings<{ readonly port: number }>(process.argv);

const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
  const far = connect({ host: "127.0.0.1", port, allowHalfOpen: true, noDelay: true });
  near.pipe(far).pipe(near);
  near.on("error", () => far.destroy());
  far.on("error", () => near.destroy());
  near.once("close", () => far.destroy());
  far.once("close", () => near.destroy());
});

process.send?.(await listen(server));
