import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { MAIN } from "../../support/cli.ts";
import { startRelay } from "../../support/relay.ts";
import { unsignedToken } from "../../support/tokens.ts";

/** As in a container without an init: the kernel gives the first process no signal that it has no handler for. */
const AS_FIRST = ["--pid", "--fork", "--mount-proc", "--kill-child"];
const canBeFirst = spawnSync("unshare", [...AS_FIRST, "true"], { stdio: "ignore" }).status === 0;

test.runIf(canBeFirst)(
  "as the first process of a container `run` passes signals and exit codes, with orphans around",
  async () => {
    const [home, relay] = [await temporaryFolder(), await startRelay()];
    await relay.addCluster("prod");
    const env = {
      PATH: process.env["PATH"],
      HOME: home,
      TMPDIR: home,
      CLUSTER_CONNECT_RELAY: relay.url,
      CLUSTER_CONNECT_TOKEN: unsignedToken(),
      CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken(),
      ...relay.trusted(),
    };
    // Processes whose parent ends become children of the first one.
    const command =
      "for each in 1 2 3; do (true & exit) ; done; trap 'exit 5' TERM; kill -TERM 1; echo sent; while :; do sleep 0.05; done";
    const words = [process.execPath, "--conditions=source", MAIN, "run", "-n", "prod", "--", "sh", "-c", command];
    const child = spawn("unshare", [...AS_FIRST, ...words], { env, stdio: ["ignore", "pipe", "pipe"] });
    const said = Promise.all([text(child.stdout), text(child.stderr)]);
    expect(await once(child, "exit")).toEqual([5, null]);
    expect((await said)[0]).toBe("sent\n");
  },
);
