import { readFile } from "node:fs/promises";
import { type Clock, systemCode, wait } from "@cluster-connect/base";
import { type ClusterUid, ConnectError, clusterUidFile, isClusterUid } from "@cluster-connect/protocol";
import type { Logger } from "@cluster-connect/service";

const POLL_MS = 250;
const PROGRESS_EVERY_MS = 10_000;

/**
 * The authorities that the auth proxy publishes once it has made them; waits until they are there and says so.
 *
 * @throws ConnectError `CC_FILE_UNREADABLE` when the file is there and cannot be read.
 */
export async function waitForAuthorities(
  file: string,
  options: { readonly signal: AbortSignal },
  deps: { readonly log: Logger; readonly clock: Clock },
): Promise<string> {
  let nextWord = deps.clock.now();
  for (;;) {
    const text = await readAuthorities(file);
    if (text !== undefined) return text;
    if (deps.clock.now() >= nextWord) {
      deps.log.info({ event: "authorities.waiting", file }, "waiting for the auth proxy to publish its authorities");
      nextWord = deps.clock.now() + PROGRESS_EVERY_MS;
    }
    await wait(POLL_MS, options, deps);
  }
}

/** The authorities that the auth proxy has published by now; undefined while it has not. */
export async function readAuthorities(file: string): Promise<string | undefined> {
  const text = await readIfThere(file);
  return text?.includes("-----END CERTIFICATE-----") ? text : undefined;
}

/**
 * The cluster's UID as the auth proxy has told it by now; undefined while it has not, may not read it, or told something
 * else than a UID.
 *
 * @param authoritiesFile the UID is in a file beside it.
 * @throws ConnectError `CC_FILE_UNREADABLE` when the file is there and cannot be read.
 */
export async function readClusterUid(authoritiesFile: string): Promise<ClusterUid | undefined> {
  const text = (await readIfThere(clusterUidFile(authoritiesFile)))?.trim();
  return isClusterUid(text) ? text : undefined;
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    const code = systemCode(cause);
    if (code === "ENOENT") return undefined;
    throw new ConnectError("CC_FILE_UNREADABLE", `${file} cannot be read: ${code}`, { cause });
  }
}
