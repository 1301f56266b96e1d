import { mkdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { type Clock, repeat } from "@cluster-connect/base";
import { type ClusterUid, ConnectError, clusterUidFile, isClusterUid } from "@cluster-connect/protocol";
import { errorFields, type Logger, writeFileAtomic } from "@cluster-connect/service";
import { CLUSTER_UID_RELOAD_MS, CLUSTER_UID_RETRY_MS } from "../limits/limits.ts";
import { type ApiserverClient, fieldOf } from "./client.ts";

/** Tells the agent which cluster this is, so that the relay can tell it from another one under its name. */
export interface ClusterUidPublisher {
  /** Asks the apiserver once and publishes the answer. Never rejects: without a UID nothing is told apart. */
  publish(options: { readonly signal: AbortSignal }): Promise<void>;
  /** Asks again, at an interval and sooner while there was no answer, until the signal is aborted. */
  keep(options: { readonly signal: AbortSignal }): Promise<void>;
}

const NAMESPACE_PATH = "/api/v1/namespaces/kube-system";

/** @param authoritiesFile the UID goes into a file beside it; undefined publishes nothing. */
export function createClusterUidPublisher(
  authoritiesFile: string | undefined,
  deps: { readonly apiserver: Pick<ApiserverClient, "get">; readonly log: Logger; readonly clock: Clock },
): ClusterUidPublisher {
  const { apiserver, log, clock } = deps;
  let published: { readonly uid: ClusterUid | undefined } | undefined;
  let isAnswered = false;

  async function publish(signal: AbortSignal): Promise<void> {
    if (authoritiesFile === undefined) return;
    try {
      isAnswered = false;
      const uid = await askUid(apiserver, signal);
      isAnswered = true;
      if (published !== undefined && published.uid === uid) return;
      await write(clusterUidFile(authoritiesFile), uid);
      published = { uid };
      if (uid === undefined) log.info({ event: "cluster.uid.unknown" }, UNKNOWN_TEXT);
      else log.info({ event: "cluster.uid.published", uid }, "the agent is told which cluster this is");
    } catch (error) {
      if (!signal.aborted) log.warn({ event: "cluster.uid.failed", ...errorFields(error) }, "the UID is not published");
    }
  }

  return {
    publish: ({ signal }) => publish(signal),
    async keep({ signal }) {
      let waitedMs = 0;
      const look = async (): Promise<void> => {
        waitedMs += CLUSTER_UID_RETRY_MS;
        if (isAnswered && waitedMs < CLUSTER_UID_RELOAD_MS) return;
        waitedMs = 0;
        await publish(signal);
      };
      if (authoritiesFile !== undefined) await repeat(look, { intervalMs: CLUSTER_UID_RETRY_MS, signal }, { clock });
    },
  };
}

/** A file of an earlier start may be another cluster's: a machine may have been cloned with it. */
async function write(file: string, uid: ClusterUid | undefined): Promise<void> {
  try {
    if (uid === undefined) return await rm(file, { force: true });
    await mkdir(dirname(file), { recursive: true });
    await writeFileAtomic(file, `${uid}\n`, { mode: 0o644 });
  } catch (cause) {
    throw new ConnectError("CC_FILE_UNREADABLE", `publishCaPath: ${file} cannot be written`, { cause });
  }
}

const UNKNOWN_TEXT =
  "the account may not get the namespace kube-system, or it has no UID: another cluster under this one's name is not told apart";

/** @throws ConnectError `CC_APISERVER_UNREACHABLE` without an answer, and for one that may be another a little later. */
async function askUid(apiserver: Pick<ApiserverClient, "get">, signal: AbortSignal): Promise<ClusterUid | undefined> {
  const { status, body } = await apiserver.get(NAMESPACE_PATH, { signal });
  if (status === 200) {
    const uid = fieldOf(body, "metadata", "uid");
    return isClusterUid(uid) ? uid : undefined;
  }
  if (status === 403 || status === 404) return undefined;
  throw new ConnectError("CC_APISERVER_UNREACHABLE", `The kube-apiserver answered ${status} to ${NAMESPACE_PATH}`);
}
