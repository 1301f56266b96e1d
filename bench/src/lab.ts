import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { startBare } from "./chains/bare.ts";
import type { Chain } from "./chains/chain.ts";
import { startConnect } from "./chains/connect.ts";
import { startHaproxy } from "./chains/haproxy.ts";
import { startNet } from "./chains/net.ts";
import { type ChainOptions, path, type Site } from "./chains/site.ts";
import { startSsh } from "./chains/ssh.ts";

/** Chains that others are compared with, by the name in the table. */
export const REFERENCES = {
  net: "node net",
  haproxy: "haproxy TLS",
  ssh: "ssh aes256-gcm",
} as const;

/** The chains that questions share: started once, they stay. */
export interface Lab {
  readonly site: Site;
  /** Round trip of the long path. */
  readonly longRttMs: number;
  /** Why a reference is not there; it then has no rows. */
  readonly skipped: readonly string[];
  /** Ours, then the references that this machine can run. */
  chains(options: ChainOptions): Promise<readonly Chain[]>;
  /** Framing alone, with the hop window and without. */
  bareChains(): Promise<readonly Chain[]>;
  /** Ours in processes that nothing has run through yet; the caller stops it. */
  freshConnect(): Promise<Chain>;
  /** Port of the quiet far end behind a delay and nothing else. */
  pathAlone(options: ChainOptions): Promise<number>;
  /** Stops the chains, each in its own order. */
  stop(): Promise<void>;
}

export interface LabOptions {
  readonly longRttMs: number;
}

type Start = (options: ChainOptions, site: Site) => Promise<Chain>;

interface Reference {
  readonly start: Start;
  /** Programs that it needs, and the Debian package that has them. */
  readonly needs: readonly string[];
  readonly package: string;
}

const REFERENCE_CHAINS: readonly Reference[] = [
  { start: startNet, needs: [], package: "" },
  { start: startHaproxy, needs: ["haproxy"], package: "haproxy" },
  { start: startSsh, needs: ["ssh", "ssh-keygen", "sshd"], package: "openssh-server" },
];

const PROGRAM_FOLDERS: readonly string[] = "/usr/sbin:/usr/bin:/sbin:/bin".split(delimiter);

export async function createLab(options: LabOptions, site: Site): Promise<Lab> {
  const starts: Start[] = [startConnect];
  const skipped: string[] = [];
  for (const reference of REFERENCE_CHAINS) {
    const missing = await missingPrograms(reference.needs);
    if (missing.length === 0) starts.push(reference.start);
    else
      skipped.push(`${missing.join(" and ")} not found: install the package ${reference.package} for this comparison`);
  }
  const started: Chain[] = [];
  const kept = async (start: Promise<Chain>): Promise<Chain> => {
    const chain = await start;
    started.push(chain);
    return chain;
  };
  const chains = once(async (key: string) => {
    const rttMs = Number(key);
    return await inOrder(starts.map((start) => () => kept(start({ rttMs }, site))));
  });
  const paths = once(async (key: string) => await path(site.ends.quiet, { rttMs: Number(key) }, site));
  const bare = once(async () => inOrder([true, false].map((hopWindow) => () => kept(startBare({ hopWindow }, site)))));
  return {
    site,
    longRttMs: options.longRttMs,
    skipped,
    chains: ({ rttMs }) => chains(`${rttMs}`),
    bareChains: () => bare(""),
    freshConnect: () => startConnect({ rttMs: 0 }, site),
    pathAlone: ({ rttMs }) => paths(`${rttMs}`),
    async stop() {
      for (const chain of started) await chain.stop();
    },
  };
}

/** Remembers what was started for each key. */
function once<T>(start: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const started = new Map<string, Promise<T>>();
  return (key) => {
    const found = started.get(key) ?? start(key);
    started.set(key, found);
    return found;
  };
}

async function inOrder<T>(starts: readonly (() => Promise<T>)[]): Promise<readonly T[]> {
  const done: T[] = [];
  for (const start of starts) done.push(await start());
  return done;
}

async function missingPrograms(names: readonly string[]): Promise<readonly string[]> {
  const found = await Promise.all(names.map(isInstalled));
  return names.filter((_, index) => found[index] === false);
}

async function isInstalled(name: string): Promise<boolean> {
  const tries = PROGRAM_FOLDERS.map((folder) => access(join(folder, name), constants.X_OK));
  return (await Promise.allSettled(tries)).some(({ status }) => status === "fulfilled");
}
