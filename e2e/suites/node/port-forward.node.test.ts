import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { NODE_IMAGE } from "../../src/cluster/node/image.ts";
import type { Program } from "../../src/process/keeper.ts";
import { waitForLogText } from "../../src/process/log-events.ts";
import type { Person } from "../support/stack.ts";
import { expectStreams, kubectlOver, newName, PROTOCOLS, useNodeStack } from "./support/node-stack.ts";

const suite = useNodeStack();
let admin: Person;

beforeAll(async () => {
  admin = await suite().signIn("admin");
});

const PARALLEL = 50;
const BYTES = 262_144;
const TURNS = 4;
const ECHO_PORT = 8_080;
const WAIT_MS = 60_000;

/** A pod that sends back all that it is sent. */
function echoPod(name: string): string {
  const ready = { tcpSocket: { port: ECHO_PORT }, periodSeconds: 1 };
  const command = ["nc", "-ll", "-p", String(ECHO_PORT), "-e", "cat"];
  const container = { name: "echo", image: NODE_IMAGE, imagePullPolicy: "Never", command, readinessProbe: ready };
  return JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name }, spec: { containers: [container] } });
}

/** Something that was sent to the pod comes back the same. */
type Exchange = (bytes: number) => Promise<void>;

/** One way through the forwarded port. */
function open(port: number): Exchange {
  const socket = connect(port, "127.0.0.1");
  let heard: Buffer[] = [];
  let left = 0;
  let all = Promise.withResolvers<void>();
  socket.on("data", (chunk: Buffer) => {
    heard.push(chunk);
    left -= chunk.length;
    if (left <= 0) all.resolve();
  });
  socket.once("close", () => all.reject(new Error(`closed with ${left} bytes missing`)));
  socket.on("error", () => socket.destroy());
  return async (bytes) => {
    const sent = randomBytes(bytes);
    heard = [];
    left = bytes;
    all = Promise.withResolvers();
    socket.write(sent);
    await all.promise;
    expect(Buffer.concat(heard).equals(sent)).toBe(true);
  };
}

test.each(PROTOCOLS)("port-forward carries 50 at a time over $name, again and again", async (protocol) => {
  const { keeper, tools, folder } = suite();
  const kubectl = kubectlOver(protocol, admin, suite());
  const pod = newName("echo");
  await kubectl.succeed(["create", "-f", "-"], echoPod(pod));
  await kubectl.succeed(["wait", "--for=condition=Ready", `pod/${pod}`, "--timeout=180s"]);
  const forward: Program = await keeper.start({
    name: "port-forward",
    command: tools.kubectl,
    args: ["port-forward", `pod/${pod}`, `:${ECHO_PORT}`],
    env: kubectl.env,
    cwd: folder,
    logPath: join(folder, `${pod}.log`),
  });
  const said = await waitForLogText(forward, /127\.0\.0\.1:\d+/, { signal: AbortSignal.timeout(WAIT_MS) });
  const port = Number(said.split(":")[1]);
  const exchanges: Exchange[] = [];
  // One after another: the pod's nc takes two callers at the same moment, not more.
  for (let count = 0; count < PARALLEL; count++) {
    const exchange = open(port);
    await exchange(1);
    exchanges.push(exchange);
  }
  for (let turn = 0; turn < TURNS; turn++) await Promise.all(exchanges.map((exchange) => exchange(BYTES)));
  await forward.stop();
  await expectStreams(suite(), pod, protocol, 1);
});
