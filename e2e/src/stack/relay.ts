import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError, UPSTREAM_KUBERNETES } from "@cluster-connect/protocol";
import { createAuthority } from "../cluster/control-plane/certificates.ts";
import { compileCacheEnv } from "../process/compile-cache.ts";
import { onFreePort, startDaemon } from "../process/daemon.ts";
import type { Keeper, Program } from "../process/keeper.ts";
import { runToEnd } from "../process/run-to-end.ts";
import { NAME_PREFIX, writeAuthentication } from "./authentication.ts";
import { CLI_CLIENT_ID, CLUSTER_AUDIENCE, RELAY_AUDIENCE } from "./issuer.ts";
import { repositoryFile } from "./repository-file.ts";

/** How to start the relay. */
export interface RelayOptions {
  /** A folder of its own. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Where its spans go; nowhere by default. */
  readonly tracing?: { readonly endpoint: string };
  readonly issuerUrl: string;
  /** More of its environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Address to listen at and to be called by; loopback by default. */
  readonly host?: string;
  /** PEM of the issuer's authority, where it has TLS. */
  readonly issuerCaPem?: string;
  /** The relay's `limits`, where its own are not wanted. */
  readonly limits?: Readonly<Record<string, number>>;
  /** The clusters' audience; {@link CLUSTER_AUDIENCE} by default. */
  readonly clusterAudience?: string;
  /** Upstreams of agents that are granted beside the apiserver. */
  readonly grantedUpstreams?: readonly string[];
  /** Behind something that the suite put in front, with TLS when its address says so; on a free port otherwise. */
  readonly behind?: { readonly publicUrl: string; readonly port: number };
}

/** A relay that can be started again on its port with the same data. */
export interface Relay {
  readonly url: string;
  /** The authority to trust for {@link url}; absent where there is no TLS. */
  readonly caFile: string | undefined;
  /** The process of the last start. */
  readonly program: Program;
  /** A one-time code for an agent of this cluster. */
  enrollmentCode(clusterId: string, options: { readonly signal: AbortSignal }): Promise<string>;
  /** Starts it again after its end; resolves when it listens. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Gives it another certificate of the same authority, which it takes while it runs; nothing where there is no TLS. */
  renewCertificate(): Promise<void>;
}

const MAIN: string = repositoryFile("apps/relay/src/main.ts");
const LOOPBACK = "127.0.0.1";
const PROBE_SECONDS = 1;
const START_TIMEOUT_MS = 120_000;

/** Starts the relay as a process and resolves when it listens. */
export async function startRelay(
  options: RelayOptions,
  deps: { readonly keeper: Keeper; readonly now: () => Date },
): Promise<Relay> {
  const { folder, issuerUrl, behind, host = LOOPBACK } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const authenticationPath = join(folder, "authentication.json");
  await writeAuthentication(authenticationPath, { ...options, audience: RELAY_AUDIENCE });
  const secure = behind === undefined || behind.publicUrl.startsWith("https:");
  const tls = secure ? await writeCertificate(folder, host, deps.now) : undefined;
  let run = 0;
  const startOn = async (port: number): Promise<Relay> => {
    const url = behind?.publicUrl ?? `https://${host}:${port}`;
    const own = settings({
      folder,
      authenticationConfig: authenticationPath,
      publicUrl: url,
      listen: { host, port },
      issuer: issuerUrl,
      tls,
      grantedUpstreams: options.grantedUpstreams ?? [],
      clusterAudience: options.clusterAudience ?? CLUSTER_AUDIENCE,
    });
    const { limits, tracing } = options;
    const config = {
      ...own,
      ...(limits === undefined ? {} : { limits }),
      ...(tracing === undefined ? {} : { tracing }),
    };
    const startProgram = async (signal: AbortSignal): Promise<Program> => {
      run += 1;
      const spec = {
        name: "relay",
        main: MAIN,
        folder,
        config,
        readyEvent: "relay.listening",
        logName: `relay-${run}`,
        ...(options.env === undefined ? {} : { env: options.env }),
      };
      return (await startDaemon(spec, { signal }, deps)).program;
    };
    let program = await startProgram(options.signal);
    return {
      url,
      caFile: tls?.caFile,
      get program() {
        return program;
      },
      enrollmentCode: (clusterId, { signal }) => makeEnrollmentCode(folder, "relay", clusterId, signal),
      start: async () => {
        program = await startProgram(AbortSignal.timeout(START_TIMEOUT_MS));
      },
      stop: async () => void (await program.stop()),
      renewCertificate: async () => await tls?.renew(),
    };
  };
  return behind === undefined ? onFreePort(startOn) : startOn(behind.port);
}

interface Tls {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
  readonly renew: () => Promise<void>;
}

async function writeCertificate(folder: string, host: string, now: () => Date): Promise<Tls> {
  const authority = await createAuthority("cluster-connect demo relay", { now });
  const tls = { certFile: join(folder, "tls.crt"), keyFile: join(folder, "tls.key"), caFile: join(folder, "ca.crt") };
  await writeFile(tls.caFile, authority.certPem);
  const renew = async (): Promise<void> => {
    const leaf = await authority.issue({ commonName: "relay", hosts: [...new Set([host, LOOPBACK, "localhost"])] });
    await writeFile(tls.certFile, leaf.certPem);
    await writeFile(tls.keyFile, leaf.keyPem, { mode: 0o600 });
  };
  await renew();
  return { ...tls, renew };
}

/** The settings that differ from one relay of the tests to the next. */
interface OwnSettings {
  readonly folder: string;
  /** Path of the file. */
  readonly authenticationConfig: string;
  readonly publicUrl: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly issuer: string;
  readonly tls: Tls | undefined;
  readonly grantedUpstreams: readonly string[];
  readonly clusterAudience: string;
}

function settings(given: OwnSettings): Readonly<Record<string, unknown>> {
  const { folder, authenticationConfig, publicUrl, listen, issuer, tls, grantedUpstreams, clusterAudience } = given;
  const upstreams = [UPSTREAM_KUBERNETES, ...grantedUpstreams];
  return {
    listen,
    publicUrl,
    ...(tls === undefined ? {} : { tls: { certFile: tls.certFile, keyFile: tls.keyFile } }),
    dataDir: join(folder, "data"),
    authenticationConfig,
    allowInsecureLoopbackIssuer: true,
    grants: [{ clusters: ["*"], groups: ["viewers", "admins"].map((name) => `${NAME_PREFIX}${name}`), upstreams }],
    admins: [{ groups: [`${NAME_PREFIX}admins`] }],
    login: {
      issuer,
      clientId: CLI_CLIENT_ID,
      scopes: ["openid", "profile", "email", "groups", "offline_access"],
      audiences: { relay: RELAY_AUDIENCE, cluster: clusterAudience },
      resourceParameter: "resource",
    },
    probe: { intervalSeconds: PROBE_SECONDS },
    drainSeconds: 1,
  };
}

/**
 * Asks the relay's command line for a one-time code.
 *
 * @param name of the relay's configuration in the folder.
 */
export async function makeEnrollmentCode(
  folder: string,
  name: string,
  clusterId: string,
  signal: AbortSignal,
  flags: readonly string[] = [],
): Promise<string> {
  const where = ["--config", join(folder, `${name}.yaml`), "--cluster", clusterId];
  const args = ["enroll", ...where, "--output", "json", ...flags];
  const made = await runToEnd(process.execPath, ["--conditions=source", MAIN, ...args], {
    env: { HOME: folder, ...compileCacheEnv(process.env) },
    cwd: folder,
    signal,
  });
  if (made.code !== 0) throw new ConnectError("CC_INTERNAL", `the relay made no code: ${made.stderr.trim()}`);
  const answer: unknown = JSON.parse(made.stdout);
  const code = typeof answer === "object" && answer !== null && "code" in answer ? answer.code : undefined;
  return String(code);
}
