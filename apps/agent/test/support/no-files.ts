/** Opens files until there may be no more, connects to an upstream, and says on stdout with which code that was refused. */
import { closeSync, openSync, writeSync } from "node:fs";
import { createReadMemory } from "@cluster-connect/framing";
import { ConnectError } from "@cluster-connect/protocol";
import { connectUpstream } from "../../src/streams/upstream.ts";

const address = { kind: "tcp", host: "127.0.0.1", port: 9 } as const;
const connect = (): Promise<string> =>
  connectUpstream(
    "kubernetes",
    address,
    { signal: AbortSignal.timeout(30_000) },
    { readMemory: createReadMemory() },
  ).then(
    () => "connected",
    (error: unknown) => (error instanceof ConnectError ? error.code : String(error)),
  );
const held: number[] = [];
try {
  for (;;) held.push(openSync("/dev/null", "r"));
} catch {
  // The limit is reached.
}
const full = await connect();
for (const fd of held) closeSync(fd);
writeSync(1, JSON.stringify({ full, after: await connect() }));
