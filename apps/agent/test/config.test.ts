import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { loadAgentConfig } from "../src/config.ts";
import { parseUpstreamAddress, upstreamText } from "../src/streams/upstream-address.ts";

const EXAMPLE = join(import.meta.dirname, "../../../examples/agent.yaml");

test("the example is valid", async () => {
  await expect(loadAgentConfig({ file: EXAMPLE, env: {} })).resolves.toMatchObject({
    relay: { urls: [new URL("https://relay.example.com")], tunnels: 2 },
    authProxy: { address: { kind: "socket", path: "/run/cluster-connect/auth-proxy.sock" } },
    drainSeconds: 30,
  });
});

test("every problem is named at once, and the code is not shown", async () => {
  const file = join(await temporaryFolder(), "agent.yaml");
  await writeFile(
    file,
    `
relay: { urls: ["ftp://relay.example.com", "https://relay.example.com/path"] }
code: [hunter2]
authProxy: { address: nowhere, healthUrl: x }
upstreams: { kubernetes: "a:1", Echo: "a:1", db: "a:70000" }
`,
  );
  const error = await loadAgentConfig({ file, env: {} }).catch((problem: unknown) => problem);
  expect(error).toMatchObject({ code: "CC_CONFIG_INVALID" });
  const message = error instanceof Error ? error.message : "";
  for (const path of [
    "relay.urls[0]: ",
    "relay.urls[1]: expected a scheme, a host and perhaps a port",
    "code: expected string",
    "stateDir: expected string",
    "authProxy.address: expected the path of a unix socket or host:port",
    "authProxy.healthUrl: ",
    "authProxy.authoritiesFile: ",
    "upstreams.kubernetes: ",
    "upstreams.Echo: ",
    "upstreams.db: ",
  ]) {
    expect(message).toContain(path);
  }
  expect(message).not.toContain("hunter2");
});

test.each([
  ["/run/a.sock", { kind: "socket", path: "/run/a.sock" }],
  ["./a.sock", { kind: "socket", path: "./a.sock" }],
  ["127.0.0.1:80", { kind: "tcp", host: "127.0.0.1", port: 80 }],
  ["echo.default.svc:7", { kind: "tcp", host: "echo.default.svc", port: 7 }],
])("the upstream address %s is read and written", (text, address) => {
  const parsed = parseUpstreamAddress(text);
  expect(parsed).toEqual(address);
  expect(parsed && upstreamText(parsed)).toBe(text);
});

test("an IPv6 upstream address is written in brackets", () => {
  expect(parseUpstreamAddress("[::1]:80")).toEqual({ kind: "tcp", host: "::1", port: 80 });
});

test.each(["", "host", "host:", ":80", "host:0", "host:65536", "a b:80", "::1:80"])(
  "%j is no upstream address",
  (text) => {
    expect(parseUpstreamAddress(text)).toBeUndefined();
  },
);

test.each([
  ["http://relay.example.com", false],
  ["http://128.0.0.1:8080", false],
  ["http://localhost.example.com", false],
  ["https://relay.example.com", true],
  ["http://localhost:8080", true],
  ["http://127.0.0.2:8080", true],
  ["http://[::1]:8080", true],
])("the relay %s is taken: %s", async (url, taken) => {
  const file = join(await temporaryFolder(), "agent.json");
  const authProxy = { address: "/run/a.sock", healthUrl: "http://127.0.0.1:1", authoritiesFile: "/a" };
  await writeFile(file, JSON.stringify({ relay: { urls: [url] }, stateDir: "/s", authProxy }));
  const loading = loadAgentConfig({ file, env: {} });
  if (taken) await expect(loading).resolves.toMatchObject({ stateDir: "/s" });
  else await expect(loading).rejects.toThrow("relay.urls[0]: expected https");
});
