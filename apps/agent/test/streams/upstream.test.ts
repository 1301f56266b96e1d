import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { createReadMemory } from "@cluster-connect/framing";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { connectUpstream } from "../../src/streams/upstream.ts";

const SCRIPT = new URL("../support/no-files.ts", import.meta.url).pathname;
const SERVER = new URL("../support/stopped-server.ts", import.meta.url).pathname;

test("with no open file left a stream is refused at once with a code of its own, and the agent goes on", async () => {
  const command = 'ulimit -n 64; exec "$0" --conditions=source "$1"';
  const { stdout } = await promisify(execFile)("sh", ["-c", command, process.execPath, SCRIPT]);
  expect(JSON.parse(stdout)).toEqual({ full: "CC_LIMIT_REACHED", after: "CC_UPSTREAM_UNREACHABLE" });
});

test("a socket whose queue is full for a moment is waited for, not given up", async () => {
  const path = join(await temporaryFolder(), "full.sock");
  const server = spawn(process.execPath, [SERVER, path], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void server.kill("SIGKILL"));
  await once(server.stdout, "data");
  server.kill("SIGSTOP");
  await fillQueue(path);
  const never = { signal: new AbortController().signal };
  const deps = { readMemory: createReadMemory() };
  const connected = connectUpstream("kubernetes", { kind: "socket", path }, never, deps);
  connected.catch(() => {}); // awaited below
  // Its first try has been refused by then, as this one is.
  await expect(connectOnce(path)).rejects.toMatchObject({ code: "EAGAIN" });
  server.kill("SIGCONT");
  (await connected).destroy();
});

async function connectOnce(path: string): Promise<Socket> {
  const socket = connect(path);
  await once(socket, "connect");
  return socket;
}

/** Connects until the system takes no more. */
async function fillQueue(path: string): Promise<void> {
  for (;;) {
    try {
      const socket = await connectOnce(path);
      socket.on("error", () => {});
      onTestFinished(() => void socket.destroy());
    } catch {
      return;
    }
  }
}
