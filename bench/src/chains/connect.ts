import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startTestIssuer, type TestIssuer } from "@cluster-connect/auth/testing";
import { freePort } from "../process/free-port.ts";
import { logged, type Running } from "../process/processes.ts";
import type { OpenerPorts, OpenerSettings } from "../programs/opener/settings.ts";
import { startProgram } from "../programs/settings.ts";
import type { Chain } from "./chain.ts";
import { type ChainOptions, path, type Site } from "./site.ts";

const CLUSTER = "bench";
const AUDIENCE = "bench-relay";
const RELAY_MAIN: string = fileURLToPath(new URL("../../../apps/relay/src/main.ts", import.meta.url));
/** As the relay's first line has them. */
const RELAY_FLAGS: readonly string[] = ["--max-semi-space-size=2"];
const AGENT_MAIN: string = fileURLToPath(new URL("../../../apps/agent/src/main.ts", import.meta.url));

/** Our own: an opener in the CLI's place, the relay and the agent as they are, TLS between them. */
export async function startConnect(options: ChainOptions, site: Site): Promise<Chain> {
  const folder = join(site.processes.folder, `connect-${await freePort()}`);
  await mkdir(folder, { mode: 0o700 });
  const issuer = await startTestIssuer();
  const relay = await startRelay(folder, issuer, site);
  const agent = await startAgent(folder, relay, site);
  const tokenFile = join(folder, "token");
  await writeFile(tokenFile, await issuer.sign({ aud: AUDIENCE, sub: "bench" }), { mode: 0o600 });
  const settings: OpenerSettings = {
    url: `https://127.0.0.1:${await path(relay.port, options, site)}/v1/connect`,
    caFile: site.certificate.certFile,
    tokenFile,
    cluster: CLUSTER,
    upstreams: ["quiet", "bulk"],
    hopWindow: true,
  };
  const { running: near, answer } = await startProgram<OpenerPorts>("opener", settings, site.processes, {
    execArgv: site.nodeFlags,
  });
  const hops = { near, middle: relay.running, far: agent };
  return {
    name: "connect",
    ports: { quiet: answer["quiet"] ?? 0, bulk: answer["bulk"] ?? 0 },
    hops,
    pids: async (hop) => [hops[hop].pid],
    async stop() {
      await near.stop();
      await agent.stop();
      await relay.running.stop();
      await issuer.stop();
    },
  };
}

interface StartedRelay {
  readonly running: Running;
  readonly port: number;
  readonly configPath: string;
}

async function startRelay(folder: string, issuer: TestIssuer, site: Site): Promise<StartedRelay> {
  const port = await freePort();
  const authenticationConfig = join(folder, "authentication.json");
  await writeFile(authenticationConfig, JSON.stringify(authentication(issuer.url)));
  const { certFile, keyFile } = site.certificate;
  const configPath = await writeConfig(folder, "relay", {
    listen: { host: "127.0.0.1", port },
    publicUrl: `https://127.0.0.1:${port}`,
    tls: { certFile, keyFile },
    dataDir: join(folder, "relay-data"),
    authenticationConfig,
    allowInsecureLoopbackIssuer: true,
    grants: [{ clusters: ["*"], users: ["bench"], upstreams: ["kubernetes", "quiet", "bulk"] }],
    // One caller asks for all of it here.
    limits: { streamsPerCaller: 50_000, streamsPerCluster: 50_000, opensPerSecondPerCaller: 10_000 },
    drainSeconds: 0,
  });
  const nodeFlags = [...site.nodeFlags, ...RELAY_FLAGS];
  const running = await startApp("relay", RELAY_MAIN, configPath, { ...site, nodeFlags });
  await logged(running, '"relay.listening"');
  return { running, port, configPath };
}

async function startAgent(folder: string, relay: StartedRelay, site: Site): Promise<Running> {
  const { certFile } = site.certificate;
  const configPath = await writeConfig(folder, "agent", {
    relay: { urls: [`https://127.0.0.1:${relay.port}`], caFile: certFile },
    code: await makeCode(relay.configPath, folder),
    stateDir: join(folder, "agent-state"),
    // Nothing is there: the streams go to the other upstreams.
    authProxy: { address: join(folder, "none.sock"), healthUrl: "http://127.0.0.1:1/", authoritiesFile: certFile },
    upstreams: { quiet: `127.0.0.1:${site.ends.quiet}`, bulk: `127.0.0.1:${site.ends.bulk}` },
    drainSeconds: 0,
  });
  const running = await startApp("agent", AGENT_MAIN, configPath, site);
  await logged(running, '"tunnel.open"');
  return running;
}

function startApp(name: string, main: string, configPath: string, site: Site): Promise<Running> {
  const { profileFolder, nodeFlags } = site;
  const profile = profileFolder === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${join(profileFolder, name)}`];
  return site.processes.node(name, main, { args: ["--config", configPath], execArgv: [...nodeFlags, ...profile] });
}

async function makeCode(configPath: string, folder: string): Promise<string> {
  const args = ["--conditions=source", RELAY_MAIN, "enroll", "--config", configPath, "--cluster", CLUSTER];
  const { stdout } = await promisify(execFile)(process.execPath, [...args, "--output", "json"], { cwd: folder });
  const answer: unknown = JSON.parse(stdout);
  if (typeof answer === "object" && answer !== null && "code" in answer) return String(answer.code);
  throw new Error("the relay made no code");
}

/** Any JSON is YAML. */
async function writeConfig(folder: string, name: string, config: object): Promise<string> {
  const configPath = join(folder, `${name}.yaml`);
  await writeFile(configPath, JSON.stringify(config), { mode: 0o600 });
  return configPath;
}

function authentication(issuerUrl: string): object {
  return {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthenticationConfiguration",
    jwt: [
      {
        issuer: { url: issuerUrl, audiences: [AUDIENCE] },
        claimMappings: { username: { claim: "sub", prefix: "" } },
      },
    ],
  };
}
