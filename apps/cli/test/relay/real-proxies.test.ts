import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmod, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { freePort, temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { type ProgramEnd, startProgram } from "../support/program.ts";
import { startRelay } from "../support/relay.ts";
import { unsignedToken } from "../support/tokens.ts";

/** Proxies as companies run them, where this machine has them. */
const PATH = `${process.env["PATH"]}:/usr/sbin`;
const has = (command: string): boolean =>
  spawnSync("sh", ["-c", `command -v ${command}`], { env: { PATH } }).status === 0;

async function started(command: string, args: readonly string[], port: number): Promise<ChildProcess> {
  const child = spawn(command, args, { env: { PATH }, stdio: "ignore" });
  onTestFinished(() => void child.kill("SIGKILL"));
  await expect
    .poll(async () => {
      const socket = connect({ host: "127.0.0.1", port });
      const open = await once(socket, "connect").then(
        () => true,
        () => false,
      );
      socket.destroy();
      return open;
    })
    .toBe(true);
  return child;
}

/** Squid that knows the relay's name, and lets CONNECT through to its port. */
async function startSquid(folder: string, relayPort: number, more: readonly string[]): Promise<number> {
  const port = await freePort();
  await writeFile(join(folder, "hosts"), "127.0.0.1 relay.test\n");
  const settings = [
    `http_port 127.0.0.1:${port}`,
    `hosts_file ${join(folder, "hosts")}`,
    `pid_filename ${join(folder, "squid.pid")}`,
    "cache deny all",
    "access_log none",
    `cache_log ${join(folder, "cache.log")}`,
    `coredump_dir ${folder}`,
    "shutdown_lifetime 0 seconds",
    `acl relay port ${relayPort}`,
    ...more,
    "http_access allow CONNECT relay",
    "http_access deny all",
  ];
  await writeFile(join(folder, "squid.conf"), `${settings.join("\n")}\n`);
  await chmod(folder, 0o777);
  await started("squid", ["-N", "-f", join(folder, "squid.conf")], port);
  return port;
}

async function stage(): Promise<{
  readonly folder: string;
  readonly port: number;
  run(env: Readonly<Record<string, string>>, ...argv: readonly string[]): Promise<ProgramEnd>;
}> {
  const [home, folder] = [await temporaryFolder(), await temporaryFolder()];
  const relay = await startRelay({ tlsName: "relay.test" });
  await relay.addCluster("prod");
  await writeFile(join(home, "ca.pem"), relay.authority);
  const base = {
    HOME: home,
    TMPDIR: home,
    CLUSTER_CONNECT_RELAY: `https://relay.test:${relay.port}`,
    CLUSTER_CONNECT_CA_FILE: join(home, "ca.pem"),
    CLUSTER_CONNECT_TOKEN: unsignedToken(),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken(),
  };
  return {
    folder,
    port: relay.port,
    run: (env, ...argv) => startProgram({ ...base, ...relay.trusted(), ...env }, ...argv).ended,
  };
}

test.runIf(has("squid"))("requests and channels pass squid", async () => {
  const { folder, port, run } = await stage();
  const squid = await startSquid(folder, port, []);
  const ran = await run({ HTTPS_PROXY: `http://127.0.0.1:${squid}` }, "run", "-n", "prod", "--", "true");
  expect(ran).toMatchObject({ code: 0 });
});

test.runIf(has("squid"))(
  "squid's password is sent, a percent sign in it too, and squid's refusals are named",
  async () => {
    const { folder, port, run } = await stage();
    const program = join(folder, "login");
    await writeFile(
      program,
      '#!/bin/sh\nwhile read -r line; do [ "$line" = "jane 100%25sure" ] && echo OK || echo ERR; done\n',
    );
    await chmod(program, 0o755);
    const squid = await startSquid(folder, port, [
      `auth_param basic program ${program}`,
      "auth_param basic children 1 startup=1",
      "acl known proxy_auth REQUIRED",
      "http_access deny !known",
    ]);
    const by = (login: string): Readonly<Record<string, string>> => ({
      HTTPS_PROXY: `http://${login}127.0.0.1:${squid}`,
    });
    expect(await run(by("jane:100%sure@"), "clusters", "-o", "name")).toEqual({ code: 0, out: "prod\n", err: "" });
    expect((await run(by(""), "clusters")).err).toContain(
      `The proxy 127.0.0.1:${squid} wants Basic authentication (407) for relay.test:${port} (CC_RELAY_UNREACHABLE)`,
    );
    const elsewhere = await run({ ...by("jane:100%sure@"), CLUSTER_CONNECT_RELAY: "https://relay.test:1" }, "clusters");
    expect(elsewhere.err).toContain(`The proxy 127.0.0.1:${squid} answered 403 to CONNECT relay.test:1`);
  },
);

test.runIf(has("haproxy"))("HAProxy in front of the relay, which is away, is named with its status", async () => {
  const { folder, run } = await stage();
  const [front, away] = [await freePort(), await freePort()];
  const settings = `defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
listen front
  bind 127.0.0.1:${front}
  server relay 127.0.0.1:${away}
`;
  await writeFile(join(folder, "haproxy.cfg"), settings);
  await started("haproxy", ["-f", join(folder, "haproxy.cfg")], front);
  const { code, err } = await run({ CLUSTER_CONNECT_RELAY: `http://127.0.0.1:${front}` }, "clusters");
  expect(code).not.toBe(0);
  expect(err).toContain(`127.0.0.1:${front} answers with HTTP status 503`);
});
