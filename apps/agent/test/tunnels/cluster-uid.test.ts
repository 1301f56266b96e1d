import { writeFile } from "node:fs/promises";
import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import {
  type ClusterUid,
  ConnectError,
  clusterUidFile,
  MAX_CLUSTER_UID_CHARACTERS,
  parseClusterUid,
} from "@cluster-connect/protocol";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { expect, test } from "vitest";
import { readClusterUid } from "../../src/identity/authorities.ts";
import { createClusterUidWatch } from "../../src/tunnels/cluster-uid-watch.ts";
import { configFor, startTestAgent } from "../support/fixture.ts";
import { startTestRelay } from "../support/test-relay.ts";

const UID = "0b5c8f0e-6f0c-4d52-9d8c-2b1a7f3e4c5d";

/** A clock whose timers go off when the test says so. */
function steppedTimer(): Clock & { fire(): void } {
  let due = Promise.withResolvers<() => void>();
  return {
    ...SYSTEM_CLOCK,
    setTimer(_delayMs, fire) {
      due.resolve(fire);
      return { cancel: () => undefined };
    },
    fire() {
      const { promise } = due;
      due = Promise.withResolvers();
      void promise.then((go) => go());
    },
  };
}

async function stage() {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  return { relay, config, file: clusterUidFile(config.authProxy.authoritiesFile) };
}

test("an agent tells its cluster's UID as its auth proxy has published it", async () => {
  const { relay, config, file } = await stage();
  await writeFile(file, `${UID}\n`);
  await startTestAgent(config);
  await relay.nextSession();
  expect(relay.hellos.map(({ agent }) => agent?.clusterUid)).toEqual([UID]);
});

test("a UID that comes later is told in a new tunnel, and the former ends", async () => {
  const { relay, config, file } = await stage();
  const { log } = await startTestAgent(config);
  const first = await relay.nextSession();
  await writeFile(file, `${UID}\n`);
  await relay.nextSession();
  expect(relay.hellos.map(({ agent }) => agent?.clusterUid)).toEqual([undefined, UID]);
  await expect(first.closed).resolves.toMatchObject({ by: "peer" });
  await expect(log.once("tunnel.retold")).resolves.toMatchObject({ uid: UID });
});

test("a UID that is taken away, or cannot be read, ends no tunnel", async () => {
  const { relay, config } = await stage();
  await startTestAgent(config);
  const session = await relay.nextSession();
  const found: { uid: ClusterUid | undefined; reads: number } = { uid: parseClusterUid(UID), reads: 0 };
  const log = createMemoryLogger();
  const read = async (): Promise<ClusterUid | undefined> => {
    found.reads += 1;
    if (found.reads === 4) throw new ConnectError("CC_FILE_UNREADABLE", "no");
    return found.uid;
  };
  const clock = steppedTimer();
  const watch = createClusterUidWatch({ read, log, clock });
  expect(await watch.tell(session)).toBe(UID);
  found.uid = undefined;
  const stop = new AbortController();
  const running = watch.run({ signal: stop.signal });
  for (const reads of [2, 3, 4, 5]) {
    await expect.poll(() => found.reads).toBe(reads);
    clock.fire();
  }
  expect(session.state).toBe("open");
  expect(log.lines).toMatchObject([{ event: "cluster.uid.unreadable", code: "CC_FILE_UNREADABLE" }]);
  stop.abort();
  await running;
});

test("an agent whose cluster is refused says so, and dials again: an administrator may decide", async () => {
  const { relay, config, file } = await stage();
  await writeFile(file, UID);
  const { log } = await startTestAgent(config);
  const session = await relay.nextSession();
  session.close("CC_CLUSTER_DUPLICATE", "Another cluster has this name and key");
  await expect(log.once("tunnel.closed")).resolves.toMatchObject({
    code: "CC_CLUSTER_DUPLICATE",
    hint: expect.stringContaining("admin clusters accept"),
  });
  await relay.nextSession();
  expect(relay.enrollments).toHaveLength(1);
});

test.each<readonly [string, string | undefined, string | undefined]>([
  ["no file", undefined, undefined],
  ["an empty file", "", undefined],
  ["half a line of something else", "uid of", undefined],
  ["a UID that is too long", "0".repeat(MAX_CLUSTER_UID_CHARACTERS + 1), undefined],
  ["a UID as long as may be", "0".repeat(MAX_CLUSTER_UID_CHARACTERS), "0".repeat(MAX_CLUSTER_UID_CHARACTERS)],
  ["a line end of Windows", `${UID}\r\n`, UID],
])("%s is read", async (_what, content, expected) => {
  const { config, file } = await stage();
  if (content !== undefined) await writeFile(file, content);
  expect(await readClusterUid(config.authProxy.authoritiesFile)).toBe(expected);
});
