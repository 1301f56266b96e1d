import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import { ConnectError, clusterUidFile, MAX_CLUSTER_UID_CHARACTERS } from "@cluster-connect/protocol";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { expect, onTestFinished, test } from "vitest";
import type { ApiAnswer } from "../../src/apiserver/client.ts";
import { createClusterUidPublisher } from "../../src/apiserver/cluster-uid.ts";
import { CLUSTER_UID_RELOAD_MS, CLUSTER_UID_RETRY_MS } from "../../src/limits/limits.ts";
import { createFixture } from "../support/fixture.ts";
import { steppedClock } from "../support/stepped-clock.ts";

const UID = "0b5c8f0e-6f0c-4d52-9d8c-2b1a7f3e4c5d";
const signal = new AbortController().signal;
const namespace = (uid: unknown): ApiAnswer => ({ status: 200, body: { kind: "Namespace", metadata: { uid } } });
const readIfThere = (file: string) => readFile(file, "utf8").catch(() => undefined);

/** Stands for the apiserver: answers with what a test sets, and counts the questions. */
async function stage(first: ApiAnswer | ConnectError, clock: Clock = SYSTEM_CLOCK) {
  const folder = await mkdtemp(join(tmpdir(), "cluster-uid-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const authoritiesFile = join(folder, "published", "ca.crt");
  const asked: string[] = [];
  const apiserver = { answer: first };
  const log = createMemoryLogger();
  const get = async (target: string): Promise<ApiAnswer> => {
    asked.push(target);
    if (apiserver.answer instanceof ConnectError) throw apiserver.answer;
    return apiserver.answer;
  };
  const publisher = createClusterUidPublisher(authoritiesFile, { apiserver: { get }, log, clock });
  return { publisher, apiserver, asked, log, file: clusterUidFile(authoritiesFile) };
}

test("the UID of kube-system is asked for as ourselves, and published beside the authorities", async () => {
  await using fixture = await createFixture({
    publishes: true,
    prepare: (upstream) => {
      upstream.answer = (_request, response) => {
        response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(namespace(UID).body));
      };
    },
  });
  const file = clusterUidFile(join(fixture.folder, "published", "ca.crt"));
  expect(await readFile(file, "utf8")).toBe(`${UID}\n`);
  expect(fixture.upstream.requests.map(({ method, target }) => `${method} ${target}`)).toEqual([
    "GET /api/v1/namespaces/kube-system",
  ]);
});

test("nothing is asked where nothing is published", async () => {
  await using fixture = await createFixture();
  expect(fixture.upstream.requests).toEqual([]);
});

test.each<readonly [string, ApiAnswer]>([
  ["a role of the version before, which may not", { status: 403, body: {} }],
  ["a cluster without that namespace", { status: 404, body: {} }],
  ["a namespace without a UID", namespace(undefined)],
  ["a UID that is none", namespace("\u001b[2J")],
  ["a UID that is too long", namespace("0".repeat(MAX_CLUSTER_UID_CHARACTERS + 1))],
  ["an answer that is no JSON", { status: 200, body: undefined }],
])("with %s the UID is not known, and one of an earlier start is taken away", async (_what, answer) => {
  const { publisher, log, file } = await stage(answer);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, "uid-of-the-machine-that-was-cloned\n");
  await publisher.publish({ signal });
  expect(await readIfThere(file)).toBeUndefined();
  expect(log.lines.map(({ event }) => event)).toEqual(["cluster.uid.unknown"]);
});

test("a UID as long as may be is published", async () => {
  const longest = "0".repeat(MAX_CLUSTER_UID_CHARACTERS);
  const { publisher, file } = await stage(namespace(longest));
  await publisher.publish({ signal });
  expect(await readIfThere(file)).toBe(`${longest}\n`);
});

test.each<readonly [string, ApiAnswer | ConnectError]>([
  ["an apiserver that does not answer", new ConnectError("CC_APISERVER_UNREACHABLE", "refused")],
  ["one that is not well", { status: 503, body: {} }],
])("%s takes no UID away and is asked again soon", async (_what, failure) => {
  const clock = steppedClock(0);
  const { publisher, apiserver, asked, log, file } = await stage(namespace(UID), clock);
  await publisher.publish({ signal });
  apiserver.answer = failure;
  await publisher.publish({ signal });
  expect(await readIfThere(file)).toBe(`${UID}\n`);
  const stop = new AbortController();
  const kept = publisher.keep({ signal: stop.signal });
  await expect.poll(() => asked.length).toBe(3);
  apiserver.answer = namespace("another-cluster-by-now");
  await clock.pass(CLUSTER_UID_RETRY_MS);
  await expect.poll(() => readIfThere(file)).toBe("another-cluster-by-now\n");
  await log.once("cluster.uid.published");
  // It is answered from here on: the next question comes after the longer time.
  const before = asked.length;
  for (let passed = CLUSTER_UID_RETRY_MS; passed < CLUSTER_UID_RELOAD_MS; passed += CLUSTER_UID_RETRY_MS) {
    await clock.pass(CLUSTER_UID_RETRY_MS);
  }
  expect(asked).toHaveLength(before);
  await clock.pass(CLUSTER_UID_RETRY_MS);
  expect(asked).toHaveLength(before + 1);
  stop.abort();
  await kept;
});

test("a folder that cannot be written is told, and stops nothing", async () => {
  const { publisher, log, file } = await stage(namespace(UID));
  await mkdir(dirname(dirname(file)), { recursive: true });
  await writeFile(dirname(file), "a file where the folder should be");
  await publisher.publish({ signal });
  expect(log.lines).toMatchObject([{ event: "cluster.uid.failed", code: "CC_FILE_UNREADABLE" }]);
});
