import { X509Certificate } from "node:crypto";
import { type Clock, repeat } from "@cluster-connect/base";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { type CheckResult, errorFields, type Logger } from "@cluster-connect/service";
import { type PeerCredentials, type PeerSettings, readPeerCredentials } from "./tls.ts";

/** This relay's certificate for its peers, and their authorities, as the files have them now. */
export interface PeerFiles {
  /** The newest that could be taken. */
  readonly current: PeerCredentials;
  /** Told of each change; channels that are open go on as they are. */
  onChange(listener: (credentials: PeerCredentials) => void): void;
  /** Which certificate is used, until when, and why no newer one. Never fails: local tunnels stay in service. */
  check(): CheckResult;
  /** Follows the files until the signal is aborted; wrong content is not taken, and the former goes on. */
  watch(options: { readonly signal: AbortSignal }): Promise<void>;
}

/** Looked at as often as grants: an authority that was taken out should be gone soon. */
const INTERVAL_MS = 2_000;

/** @throws ConnectError of a file that the settings name, or `CC_CONFIG_INVALID`. */
export async function openPeerFiles(
  settings: PeerSettings,
  deps: { readonly log: Logger; readonly clock: Clock },
): Promise<PeerFiles> {
  const { log, clock } = deps;
  let current = await readPeerCredentials(settings);
  let problem: string | undefined;
  const listeners: ((credentials: PeerCredentials) => void)[] = [];

  async function poll(): Promise<void> {
    try {
      const next = await readPeerCredentials(settings);
      if (isSame(next, current)) {
        problem = undefined;
        return;
      }
      requireValid(next, clock.now());
      for (const listener of listeners) listener(next);
      current = next;
      problem = undefined;
      log.info({ event: "peers.reloaded", until: endOf(next) }, "a new certificate is used between relays");
    } catch (error) {
      const { code, message } = toConnectError(error);
      // The check is public; an error that names a path is for the log alone.
      const text = code === "CC_CONFIG_INVALID" ? message : "a file cannot be read, see the log";
      if (text === problem) return;
      problem = text;
      log.error({ event: "peers.kept", ...errorFields(error) }, "the former certificate is used on between relays");
    }
  }

  return {
    get current() {
      return current;
    },
    onChange: (listener) => {
      listeners.push(listener);
    },
    check() {
      const used = `certificate until ${endOf(current)}`;
      return { ok: true, text: problem === undefined ? used : `${used}, no newer one is taken: ${problem}` };
    },
    watch: ({ signal }) => repeat(poll, { intervalMs: INTERVAL_MS, signal }, { clock }),
  };
}

function isSame(a: PeerCredentials, b: PeerCredentials): boolean {
  return a.cert === b.cert && a.key === b.key && a.ca === b.ca;
}

function endOf({ cert }: PeerCredentials): string {
  return new X509Certificate(cert).validToDate.toISOString();
}

/** At the start there is nothing better; later the former one is. */
function requireValid({ cert }: PeerCredentials, now: number): void {
  const { validFromDate, validToDate } = new X509Certificate(cert);
  if (validFromDate.getTime() <= now && now < validToDate.getTime()) return;
  const times = `${validFromDate.toISOString()} to ${validToDate.toISOString()}`;
  throw new ConnectError("CC_CONFIG_INVALID", `peers: the certificate is valid from ${times}, not now`);
}
