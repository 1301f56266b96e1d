import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { createProgress } from "../../src/process/progress.ts";
import { missingForGoClient, startGoScene } from "../../src/stack/go-scene.ts";
import { compareSuites } from "../../src/upstream/compare.ts";
import { SHORT_GROUPS, upstreamSuites } from "../../src/upstream/suites.ts";
import { fastestMs } from "../support/fastest.ts";
import { NO_END, type Person, useStack } from "../support/stack.ts";
import { burstOverHttp1, burstOverHttp2, type NodeBurst } from "../support/wire/burst.ts";
import type { HttpsTarget } from "../support/wire/https-client.ts";

/** Limits are the default ones at every hop. */
const missing = await missingForGoClient();
const COUNT = 1_000;
/** A request beside the watches may take so many times longer than without: other suites run meanwhile. */
const MUCH_SLOWER = 4;
const OWN_REFUSAL = "request header list larger than peer's advertised limit";
/** Lengths, and what a client hears over HTTP/2 on a fresh connection, and on one whose settings it has read. */
const HEADS = [
  [60_000, "done", "done"],
  [70_000, "its head has more than 65536 bytes (CC_REQUEST_REFUSED)", OWN_REFUSAL],
  [200_000, "ErrCode=COMPRESSION_ERROR", OWN_REFUSAL],
] as const;
const ALL_DONE = ["done", "done", "done"];
const SERVER_NAME = "demo.clusters.cluster-connect.internal";
const PROTOCOLS = [
  ["HTTP/1.1", false],
  ["HTTP/2", true],
] as const;

describe.each(PROTOCOLS)("over %s", (_protocol, http2) => {
  const suite = useStack(async () => ({ authProxySettings: { http2 } }));
  let admin: Person;
  let env: Readonly<Record<string, string>>;

  beforeAll(async () => {
    admin = await suite().signIn("admin");
    env = { ...admin.cli.env, KUBECONFIG: admin.proxy.kubeconfigPath };
  });

  async function succeed(args: readonly string[]): Promise<string> {
    const done = await admin.run("kubectl", args);
    expect(done).toMatchObject({ code: 0 });
    return done.stdout;
  }

  const get = (): Promise<string> => succeed(["get", "configmaps", "-n", "default"]);

  async function local(): Promise<{ readonly target: HttpsTarget; readonly headers: readonly string[] }> {
    const { stdout } = await admin.cli.run(["credential"]);
    const ca = await readFile(suite().stack.authProxy.caFile, "utf8");
    return {
      target: { url: `https://127.0.0.1:${admin.proxy.port}`, ca, servername: SERVER_NAME },
      headers: ["Authorization", `Bearer ${JSON.parse(stdout).status.token}`, "Content-Type", "application/json"],
    };
  }

  const gauge = async (name: string): Promise<number> => {
    const response = await fetch(suite().stack.authProxy.healthUrl.replace("readyz", "metrics"));
    return Number(new RegExp(`^cluster_connect_${name}(?:\\{[^}]*\\})? (\\d+)$`, "m").exec(await response.text())?.[1]);
  };

  describe.skipIf(missing !== undefined)(`with client-go${missing === undefined ? "" : `: ${missing}`}`, () => {
    test("1,000 watches of one person stay, each sees what happens, and a get beside them is as fast as without", async () => {
      const alone = await fastestMs(get);
      await using watches = await startGoScene({ scene: "watches", count: COUNT, env }, suite());
      expect(await watches.fact()).toMatchObject({ open: COUNT });
      const beside = await fastestMs(get);
      for (const name of ["first", "second"]) {
        await succeed(["create", "configmap", name, "-n", "default"]);
        watches.tell(name);
        expect(await watches.fact()).toEqual({ seen: name, by: COUNT });
      }
      process.stderr.write(`get beside ${COUNT} watches: ${beside.toFixed(0)} ms, alone ${alone.toFixed(0)} ms\n`);
      expect(beside).toBeLessThan(alone * MUCH_SLOWER);
      const sessions = await gauge("http2_sessions");
      expect(sessions > 0).toBe(http2);
      await watches.end();
    });

    test.each(HEADS)(
      "a head of %i characters is answered, or refused as docs/differences.md says",
      async (count, fresh, known) => {
        const told = async (more: Readonly<Record<string, string>>): Promise<unknown> => {
          await using head = await startGoScene({ scene: "head", count, env: { ...env, ...more } }, suite());
          return await head.fact();
        };
        const over = http2 ? [expect.stringContaining(fresh), "done", expect.stringContaining(known)] : ALL_DONE;
        expect(await told({})).toEqual(over);
        if (http2) expect(await told({ DISABLE_HTTP2: "1" })).toEqual(ALL_DONE);
      },
    );

    test("1,000 requests at once all have an answer", async () => {
      await using burst = await startGoScene({ scene: "burst", count: COUNT, env }, suite());
      const outcome = await burst.fact();
      process.stderr.write(`burst of client-go: ${JSON.stringify(outcome)}\n`);
      expect(outcome["errors"]).toEqual({});
      expect(Number(outcome["done"]) + Number(outcome["tooMany"])).toBe(COUNT);
      await burst.end();
    });
  });

  test("1,000 requests of Node at once all succeed, or are told that they are too many", async () => {
    const { target, headers } = await local();
    const burst: NodeBurst = http2 ? burstOverHttp2 : burstOverHttp1;
    const counts = await burst(target, { headers, count: COUNT });
    process.stderr.write(`burst of Node: ${JSON.stringify(counts)}\n`);
    expect(Object.keys(counts).filter((status) => status !== "201" && status !== "429")).toEqual([]);
    expect((counts["201"] ?? 0) + (counts["429"] ?? 0)).toBe(COUNT);
    expect(counts["201"]).toBeGreaterThan(0);
  });

  test("Kubernetes' own tests, and scenes of three clients, come out as directly", async () => {
    const { stack, tools, keeper, folder } = suite();
    const through = join(folder, "through.json");
    await writeFile(through, JSON.stringify(await withToken(admin)), { mode: 0o600 });
    const progress = createProgress(process.stderr, { now: () => performance.now() });
    // The groups of test/cmd start kubectl a hundred times, once is enough.
    const groups = http2 ? [] : SHORT_GROUPS;
    const suites = upstreamSuites(groups, { tools, keeper, progress, env: process.env, signal: NO_END });
    const ways = { direct: stack.cluster.kubeconfigPath, through };
    const { same, differences, leftOut } = await compareSuites(suites, ways);
    for (const { suite: name, reason } of leftOut) process.stderr.write(`left out: ${name}: ${reason}\n`);
    expect(differences).toEqual([]);
    // A failure both ways says nothing of us.
    expect(same.filter(({ test: name, outcome }) => name === "exit code" && outcome !== "0")).toEqual([]);
    expect(same.filter(({ outcome }) => outcome === "failed")).toEqual([]);
    expect(leftOut.length).toBeLessThan(suites.length);
  });
});

/** The person's kubeconfig with a token in place of the plugin, which takes a third of a second each time. */
async function withToken({ cli, proxy, run }: Person): Promise<object> {
  const [credential, viewed] = [await cli.run(["credential"]), await run("kubectl", VIEW)];
  expect([credential.code, viewed.code]).toEqual([0, 0]);
  const config = JSON.parse(viewed.stdout);
  const { token } = JSON.parse(credential.stdout).status;
  expect(config.clusters[0].cluster.server).toContain(String(proxy.port));
  return { ...config, users: [{ name: config.users[0].name, user: { token } }] };
}

const VIEW = ["config", "view", "--minify", "--flatten", "--raw", "-o", "json"];
