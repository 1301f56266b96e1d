import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { type TestCli, testCli } from "../../support/cli.ts";
import { startRelay } from "../../support/relay.ts";
import { unsignedToken } from "../../support/tokens.ts";

/** Turns of a server in front of the relay, one for each connection; the last goes for all that follow. */
type Turn = "passes" | "resets" | 401 | 502 | 503 | 504;

interface Stage {
  readonly cli: TestCli;
  /** How many connections came. */
  count(): number;
}

async function stage(turns: readonly Turn[]): Promise<Stage> {
  const relay = await startRelay();
  await relay.addCluster("prod");
  let connections = 0;
  const sockets = new Set<Socket>();
  const front = createServer((socket) => {
    sockets.add(socket.on("error", () => {}));
    const turn = turns[Math.min(connections++, turns.length - 1)];
    if (turn === "passes") {
      const onward = connect(relay.port, "127.0.0.1").on("error", () => socket.destroy());
      sockets.add(onward);
      socket.pipe(onward).pipe(socket);
    } else if (turn === "resets") socket.resetAndDestroy();
    else
      socket.once("data", () => socket.end(`HTTP/1.1 ${turn} nginx\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`));
  }).listen(0, "127.0.0.1");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    front.close();
  });
  await once(front, "listening");
  const address = front.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const env = {
    CLUSTER_CONNECT_RELAY: `http://127.0.0.1:${port}`,
    CLUSTER_CONNECT_TOKEN: unsignedToken({ aud: "cluster" }),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken({ aud: "relay" }),
    ...relay.trusted(),
  };
  return { cli: testCli(await temporaryFolder(), { env }), count: () => connections };
}

const run = (cli: TestCli, ...flags: readonly string[]): Promise<number> =>
  cli.run("run", "-n", "prod", ...flags, "--", process.execPath, "-e", "");

test.each<readonly [string, readonly Turn[]]>([
  ["of a server in front that has no relay", [502, 503, 504, "passes"]],
  ["that is broken off", ["resets", "passes"]],
  ["for the channel alone", ["passes", 502, "resets", 503, "passes"]],
])("--wait covers the relay: an answer %s is awaited", async (_what, turns) => {
  const { cli, count } = await stage(turns);
  expect(await run(cli, "--wait", "2m")).toBe(0);
  expect(count()).toBeGreaterThanOrEqual(turns.length);
});

test("the wait has an end, and says what the relay's server answers", async () => {
  const { cli, count } = await stage([502]);
  expect(await run(cli, "--wait", "3s")).toBe(7);
  expect(count()).toBeGreaterThan(1);
  expect(cli.err()).toContain("answers with HTTP status 502: no relay behind it (CC_RELAY_UNREACHABLE)");
});

test.each<readonly [string, readonly Turn[], readonly string[]]>([
  ["without a time", [502, "passes"], []],
  ["of no time", [502, "passes"], ["--wait", "0s"]],
])("no relay is awaited %s", async (_what, turns, flags) => {
  const { cli, count } = await stage(turns);
  expect(await run(cli, ...flags)).toBe(7);
  expect(count()).toBe(1);
});

test("what does not pass by itself is not awaited", async () => {
  const { cli, count } = await stage([401, "passes"]);
  expect(await run(cli, "--wait", "2m")).toBe(8);
  expect(count()).toBe(1);
});
