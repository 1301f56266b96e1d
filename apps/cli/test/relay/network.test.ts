import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import type { Environment } from "../../src/deps.ts";
import { startClosingProxy, startHttpProxy, type TestProxy } from "../support/http-proxy.ts";
import { type ProgramEnd, startProgram } from "../support/program.ts";
import { startRelay, type TestRelay } from "../support/relay.ts";
import { unsignedToken } from "../support/tokens.ts";

interface Stage {
  readonly relay: TestRelay;
  readonly proxy: TestProxy;
  readonly caFile: string;
  run(env: Environment, ...argv: readonly string[]): Promise<ProgramEnd>;
}

/** A relay with TLS under a name that only the HTTP proxy knows, as in a corporate network. */
async function stage(): Promise<Stage> {
  const home = await temporaryFolder();
  const relay = await startRelay({ tlsName: "relay.test" });
  const proxy = await startHttpProxy({ "relay.test:443": relay.port });
  await relay.addCluster("prod");
  const caFile = join(home, "ca.pem");
  await writeFile(caFile, relay.authority);
  const base = {
    HOME: home,
    TMPDIR: home,
    CLUSTER_CONNECT_RELAY: "https://relay.test",
    CLUSTER_CONNECT_TOKEN: unsignedToken(),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken(),
  };
  return {
    relay,
    proxy,
    caFile,
    run: (env, ...argv) => startProgram({ ...base, ...relay.trusted(), ...env }, ...argv).ended,
  };
}

test("a relay behind an HTTP proxy with a password, and with an authority of its own, is reached", async () => {
  const { proxy, caFile, run } = await stage();
  const { code, out, err } = await run({ HTTPS_PROXY: proxy.url }, "clusters", "-o", "name", "--ca-file", caFile);
  expect({ code, out, err }).toEqual({ code: 0, out: "prod\n", err: "" });
  expect(proxy.asked).toEqual(["relay.test:443"]);
});

test.runIf(process.platform === "linux")(
  "an authority of the machine's own trust store is trusted without being named",
  async () => {
    const { proxy, caFile, run } = await stage();
    // Where the system's store is, as OpenSSL takes it; only Linux has it as a file.
    const env = { HTTPS_PROXY: proxy.url, SSL_CERT_FILE: caFile };
    const listed = await run(env, "clusters", "-o", "name");
    expect(listed).toMatchObject({ code: 0, out: "prod\n" });
    expect(await run(env, "run", "-n", "prod", "--", "true")).toMatchObject({ code: 0 });
  },
);

test("without its authority the relay's certificate is refused, with what to do", async () => {
  const { proxy, run } = await stage();
  const { code, err } = await run({ https_proxy: proxy.url }, "clusters");
  expect(code).toBe(9);
  expect(err).toMatch(/^error: The certificate of relay\.test is not trusted: \w+ \(CC_TLS_UNTRUSTED\)$/m);
  expect(err).toContain("hint: Give the authority that signed the server's certificate with --ca-file.");
});

test("a proxy that refuses is told, without its password", async () => {
  const { proxy, caFile, run } = await stage();
  const wrong = proxy.url.replace("s3cret", "guessed");
  const { code, err } = await run({ HTTPS_PROXY: wrong }, "clusters", "--ca-file", caFile);
  expect(code).toBe(7);
  expect(err).toContain("wants a user and password (407) for relay.test:443");
  expect(err).not.toContain("guessed");
});

test("NO_PROXY is honoured", async () => {
  const { proxy, caFile, run } = await stage();
  const { code, err } = await run({ HTTPS_PROXY: proxy.url, NO_PROXY: ".test" }, "clusters", "--ca-file", caFile);
  expect(code).toBe(7);
  expect(err).toContain("relay.test cannot be reached: the name");
  expect(proxy.asked).toEqual([]);
});

test("NO_PROXY=* switches the proxies off", async () => {
  const { proxy, caFile, run } = await stage();
  const { code, err } = await run({ HTTPS_PROXY: proxy.url, NO_PROXY: "*" }, "clusters", "--ca-file", caFile);
  expect(code).toBe(7);
  expect(err).toContain("relay.test cannot be reached: the name");
  expect(proxy.asked).toEqual([]);
});

test("a proxy without a scheme is taken as other programs take it", async () => {
  const { proxy, caFile, run } = await stage();
  const bare = proxy.url.replace("http://", "");
  const listed = await run({ HTTPS_PROXY: bare }, "clusters", "-o", "name", "--ca-file", caFile);
  expect(listed).toMatchObject({ code: 0, out: "prod\n", err: "" });
  const ran = await run({ ALL_PROXY: bare }, "run", "-n", "prod", "--ca-file", caFile, "--", "true");
  expect(ran).toMatchObject({ code: 0 });
  expect(new Set(proxy.asked)).toEqual(new Set(["relay.test:443"]));
});

test.each(["http://", "http://user:s3cret@a b", "socks5://user:s3cret@127.0.0.1:1080"])(
  "a proxy setting that is none, such as %s, is named before anything is sent, and not shown",
  async (setting) => {
    const { caFile, run } = await stage();
    const { code, out, err } = await run({ HTTPS_PROXY: setting }, "clusters", "--ca-file", caFile);
    expect({ code, out }).toEqual({ code: 60, out: "" });
    expect(err).toBe(
      "error: HTTPS_PROXY is not the URL of an HTTP proxy (CC_CONFIG_INVALID)\n" +
        "hint: Give it as http://proxy.example.com:3128, or unset it.\n",
    );
    // A command that needs no network works.
    expect(await run({ HTTPS_PROXY: setting }, "status")).toMatchObject({ code: 0 });
  },
);

test("what is on this machine needs no proxy", async () => {
  const home = await temporaryFolder();
  const relay = await startRelay();
  await relay.addCluster("prod");
  const proxy = await startHttpProxy({});
  const env = {
    HOME: home,
    TMPDIR: home,
    HTTP_PROXY: proxy.url,
    HTTPS_PROXY: proxy.url,
    ALL_PROXY: "socks5://127.0.0.1:1",
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_TOKEN: unsignedToken(),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken(),
  };
  expect((await startProgram({ ...env, ...relay.trusted() }, "run", "-n", "prod", "--", "true").ended).code).toBe(0);
  expect(proxy.asked).toEqual([]);
});

test("a password with a percent sign that encodes nothing works, and no command dies of it", async () => {
  const { proxy, caFile, run } = await stage();
  const setting = proxy.url.replace("s3cret", "100%sure");
  const listed = await run({ HTTPS_PROXY: setting }, "clusters", "--ca-file", caFile);
  expect(listed.err).toContain("(407) for relay.test:443; it did not take the user and password of its URL");
  expect(await run({ HTTPS_PROXY: setting, NODE_USE_ENV_PROXY: "" }, "version")).toMatchObject({ code: 0, err: "" });
});

test("a variable that is set to nothing does not lead past the proxy of the other spelling", async () => {
  const { proxy, caFile, run } = await stage();
  const env = { HTTPS_PROXY: "", https_proxy: proxy.url };
  const listed = await run(env, "clusters", "-o", "name", "--ca-file", caFile);
  expect(listed).toEqual({ code: 0, out: "prod\n", err: "" });
});

test("a proxy that refuses is asked once for each request, not in a storm", async () => {
  const { caFile, run, relay } = await stage();
  const closing = await startClosingProxy();
  const { code, err } = await run(
    { HTTPS_PROXY: closing.url },
    "run",
    "-n",
    "prod",
    "--wait",
    "0",
    "--ca-file",
    caFile,
    "--",
    "true",
  );
  expect(code).toBe(7);
  expect(err).toContain(`The proxy ${new URL(closing.url).host} cannot be reached: the connection was broken off`);
  expect(closing.asked.length).toBe(1);
  expect(relay.tokens).toEqual([]);
});
