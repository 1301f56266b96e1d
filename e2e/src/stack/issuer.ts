import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";
import { compileCacheEnv } from "../process/compile-cache.ts";
import type { Keeper, Program } from "../process/keeper.ts";
import { waitForLogEvent } from "../process/log-events.ts";
import { type IssuerConfig, type IssuerUser, SIGNING_ALGORITHM } from "./issuer/config.ts";

/** Audience of tokens for the relay. */
export const RELAY_AUDIENCE = "https://relay.cluster-connect.test";
/** Audience of tokens for a cluster; a relay that gets a token cannot use it there. */
export const CLUSTER_AUDIENCE = "https://cluster.cluster-connect.test";
/** The CLI's client at the issuer. */
export const CLI_CLIENT_ID = "cluster-connect-cli";
/** A machine's client at the issuer. */
export const MACHINE_CLIENT_ID = "cluster-connect-ci";

/** The users who can sign in. */
export const USERS: readonly IssuerUser[] = [
  { name: "viewer", email: "viewer@cluster-connect.test", groups: ["viewers"] },
  { name: "admin", email: "admin@cluster-connect.test", groups: ["admins", "viewers"] },
  { name: "dev-a", email: "dev-a@cluster-connect.test", groups: ["team-a"] },
  { name: "dev-b", email: "dev-b@cluster-connect.test", groups: ["team-b"] },
  { name: "stranger", email: "stranger@cluster-connect.test", groups: [] },
];

/** How to start the issuer. */
export interface IssuerOptions {
  /** An existing folder for its configuration and log. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly accessTokenSeconds?: number;
  /** Of the clusters' tokens; {@link CLUSTER_AUDIENCE} without them. */
  readonly clusterAudiences?: readonly string[];
  /** Address to listen at with TLS, for callers from elsewhere; plain HTTP on loopback without it. */
  readonly secure?: { readonly host: string; readonly certPem: string; readonly keyPem: string };
}

/** A running OpenID Connect provider. */
export interface Issuer {
  readonly url: string;
  readonly program: Program;
  /** Secret of {@link MACHINE_CLIENT_ID}. */
  readonly machineSecret: string;
  /** Signs any claims with the issuer's own key, for tokens that it would not hand out. */
  sign(claims: Readonly<Record<string, unknown>>): Promise<string>;
  /** Ends the process. */
  stop(): Promise<void>;
}

const MAIN: string = fileURLToPath(new URL("./issuer/main.ts", import.meta.url));
const REDIRECT_URIS = ["http://127.0.0.1/callback", "http://127.0.0.1/", "http://localhost/callback"];
const ACCESS_TOKEN_SECONDS = 600;

type SigningKey = JWK & IssuerConfig["jwks"]["keys"][number];

async function newSigningKey(): Promise<SigningKey> {
  const { privateKey } = await generateKeyPair(SIGNING_ALGORITHM, { extractable: true });
  return {
    ...(await exportJWK(privateKey)),
    kty: "EC",
    kid: randomBytes(8).toString("hex"),
    alg: SIGNING_ALGORITHM,
    use: "sig",
  };
}

/** Starts the provider as a process and resolves when it answers. */
export async function startIssuer(options: IssuerOptions, deps: { readonly keeper: Keeper }): Promise<Issuer> {
  const key = await newSigningKey();
  const machineSecret = randomBytes(24).toString("base64url");
  const config: IssuerConfig = {
    port: 0,
    ...(options.secure === undefined ? {} : { secure: options.secure }),
    jwks: { keys: [key] },
    users: [...USERS],
    clients: [
      { id: CLI_CLIENT_ID, redirectUris: REDIRECT_URIS },
      { id: MACHINE_CLIENT_ID, secret: machineSecret },
    ],
    audiences: [RELAY_AUDIENCE, ...(options.clusterAudiences ?? [CLUSTER_AUDIENCE])],
    accessTokenSeconds: options.accessTokenSeconds ?? ACCESS_TOKEN_SECONDS,
    cookieKey: randomBytes(24).toString("base64url"),
  };
  return run(config, key, machineSecret, options, deps);
}

async function run(
  config: IssuerConfig,
  key: SigningKey,
  machineSecret: string,
  options: IssuerOptions,
  deps: { readonly keeper: Keeper },
): Promise<Issuer> {
  const configPath = join(options.folder, "issuer.json");
  await writeFile(configPath, JSON.stringify(config), { mode: 0o600 });
  const program = await deps.keeper.start({
    name: "issuer",
    command: process.execPath,
    args: ["--conditions=source", MAIN, configPath],
    env: { HOME: options.folder, ...compileCacheEnv(process.env) },
    cwd: options.folder,
    logPath: join(options.folder, "issuer.log"),
  });
  const ready = await waitForLogEvent(program, (event) => event["event"] === "issuer.ready", options);
  return {
    url: String(ready["url"]),
    program,
    machineSecret,
    sign: (claims) =>
      new SignJWT({ ...claims }).setProtectedHeader({ alg: SIGNING_ALGORITHM, kid: key.kid, typ: "at+jwt" }).sign(key),
    stop: async () => {
      await program.stop();
    },
  };
}
