/** The issuer's process: `main.ts CONFIG_FILE`. Says `issuer.ready` with its URL on standard output; SIGUSR2 makes it fail, and work again. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { parseIssuerConfig } from "./config.ts";
import { answerLogin } from "./login-page.ts";
import { createProvider } from "./provider.ts";

const config = parseIssuerConfig(await readFile(process.argv[2] ?? "", "utf8"));
const { secure } = config;
const listener =
  secure === undefined ? createServer() : createSecureServer({ cert: secure.certPem, key: secure.keyPem });
const host = secure?.host ?? "127.0.0.1";
listener.listen(config.port, host);
await once(listener, "listening");
const address = listener.address();
const url = `${secure === undefined ? "http" : "https"}://${host}:${typeof address === "object" && address !== null ? address.port : config.port}`;
const provider = createProvider(url, config);
provider.on("server_error", (_ctx, error) => console.error(error));
const callback = provider.callback();

let failing = false;
process.on("SIGUSR2", () => {
  failing = !failing;
});
listener.on("request", (request, response) => {
  if (failing) {
    response.writeHead(503, { "retry-after": "1" }).end();
    return;
  }
  answerLogin(request, response, provider, config.users)
    .then((answered) => (answered ? undefined : callback(request, response)))
    .catch((error: unknown) => {
      console.error(error);
      if (!response.headersSent) response.writeHead(400);
      response.end();
    });
});
process.once("SIGTERM", () => process.exit(0));
console.log(JSON.stringify({ event: "issuer.ready", url }));
