import { readFile } from "node:fs/promises";
import { type Clock, repeat } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import { CREDENTIAL_RELOAD_MS, CREDENTIAL_RETRY_MS } from "../limits/limits.ts";

/** Our own credential at the apiserver, and the authorities that its certificate is checked against. */
export interface ServiceAccount {
  /** @throws ConnectError `CC_APISERVER_UNREACHABLE` when the token was refused and no other could be read. */
  token(): string;
  /** PEM certificates of the apiserver's authority. */
  ca(): string;
  /**
   * The apiserver refused a token: it is dropped and the file read again at once.
   *
   * @returns whether there is another token now.
   */
  refused(token: string): Promise<boolean>;
  /** The apiserver's certificate is not of our CA: its file is read again at once. @returns whether there is another. */
  untrusted(): Promise<boolean>;
  /** Reads both files each minute until the signal is aborted. */
  keep(options: { readonly signal: AbortSignal }): Promise<void>;
}

export interface ServiceAccountDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly readText?: (path: string) => Promise<string>;
}

/**
 * Reads the service account's token and CA and follows their files. New content replaces the former. A file that
 * cannot be read leaves the former content in use.
 *
 * @throws ConnectError `CC_FILE_UNREADABLE` when either cannot be read at start.
 */
export async function createServiceAccount(
  files: { readonly tokenFile: string; readonly caFile: string },
  deps: ServiceAccountDeps,
): Promise<ServiceAccount> {
  const { clock, log, readText = (path) => readFile(path, "utf8") } = deps;
  let token: string | undefined = await readToken();
  let ca = await readCa();
  let readAgainAt = 0;
  let reading: Promise<boolean> | undefined;
  let readCaAgainAt = 0;

  async function readToken(): Promise<string> {
    const text = (await read("upstream.tokenFile", files.tokenFile)).trim();
    if (/^[\x21-\x7e]+$/.test(text)) return text;
    throw new ConnectError("CC_FILE_UNREADABLE", `upstream.tokenFile: ${files.tokenFile} does not hold a token`);
  }

  async function readCa(): Promise<string> {
    const text = await read("upstream.caFile", files.caFile);
    if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
    throw new ConnectError("CC_FILE_UNREADABLE", `upstream.caFile: ${files.caFile} holds no certificate`);
  }

  async function read(setting: string, file: string): Promise<string> {
    try {
      return await readText(file);
    } catch (cause) {
      throw new ConnectError("CC_FILE_UNREADABLE", `${setting}: ${file} cannot be read`, { cause });
    }
  }

  async function reload(): Promise<void> {
    try {
      token = await readToken();
      ca = await readCa();
    } catch (error) {
      log.warn({ event: "credential.kept", ...errorFields(error) }, "the service account's files cannot be read");
    }
  }

  async function readAnother(refusedToken: string): Promise<boolean> {
    try {
      token = await readToken();
    } catch (error) {
      token = undefined;
      log.error({ event: "credential.dropped", ...errorFields(error) }, "the service account's token was refused");
    }
    return token !== undefined && token !== refusedToken;
  }

  return {
    token() {
      if (token !== undefined) return token;
      throw new ConnectError("CC_APISERVER_UNREACHABLE", "The auth proxy's own token was refused by the apiserver", {
        retryAfterMs: CREDENTIAL_RETRY_MS,
      });
    },
    ca: () => ca,
    async refused(refusedToken) {
      if (token !== undefined && token !== refusedToken) return true;
      if (reading === undefined && clock.now() < readAgainAt) return false;
      readAgainAt = clock.now() + CREDENTIAL_RETRY_MS;
      reading ??= readAnother(refusedToken).finally(() => {
        reading = undefined;
      });
      return reading;
    },
    async untrusted() {
      if (clock.now() < readCaAgainAt) return false;
      readCaAgainAt = clock.now() + CREDENTIAL_RETRY_MS;
      const before = ca;
      await reload();
      return ca !== before;
    },
    keep: ({ signal }) => repeat(reload, { intervalMs: CREDENTIAL_RELOAD_MS, signal }, { clock }),
  };
}
