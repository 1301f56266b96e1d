import type { Principal } from "@cluster-connect/auth";
import { type Clock, repeat } from "@cluster-connect/base";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import { type Decision, decide, nextExpiry } from "./decide.ts";
import { type GrantFiles, NO_GRANT_FILES } from "./directory.ts";
import type { Grant } from "./grant.ts";
import type { Labels } from "./label-selector.ts";

/** Content of the store: grants made through the API, and the labels of every enabled cluster. */
export interface StoredGrants {
  readonly grants: readonly Grant[];
  readonly labels: ReadonlyMap<string, Labels>;
  /** Faults of rows that are left out, a line each. */
  readonly problems: readonly string[];
}

/** Where grants come from. */
export interface GrantSources {
  readonly config: readonly Grant[];
  /** Absent without a directory. @throws ConnectError when it cannot be read. */
  readonly files?: ((former: GrantFiles) => Promise<GrantFiles>) | undefined;
  /** The same object as before where nothing has changed. @throws when the store is away; the former rows stay in use. */
  readonly rows: () => Promise<StoredGrants>;
}

/** Every grant in force, from settings, files and the store; each source keeps its last good state. */
export interface GrantBook {
  /** @param upstream where in the cluster; undefined asks whether anything in it is granted. */
  decide(principal: Principal, clusterId: string, upstream: string | undefined): Decision;
  grants(): readonly Grant[];
  /** Changes whenever an earlier decision may no longer be right. */
  readonly version: number;
  /** Sources whose newest state could not be taken, with the reason. */
  problems(): readonly string[];
  /** Reads rows and files now. Never rejects. */
  refresh(): Promise<void>;
  /** Refreshes at an interval until the signal is aborted. */
  watch(options: { readonly intervalMs?: number; readonly signal: AbortSignal }): Promise<void>;
}

const INTERVAL_MS = 2_000;

/**
 * Opens the book with the grants of settings and files; rows come with the first refresh.
 *
 * @throws ConnectError for a directory that cannot be read or is not valid: a relay does not start with half its rules.
 */
export async function openGrantBook(
  sources: GrantSources,
  deps: { readonly clock: Clock; readonly log: Logger; readonly onProblem?: (source: "files" | "rows") => void },
): Promise<GrantBook> {
  const { clock, log } = deps;
  let files: GrantFiles = (await sources.files?.(NO_GRANT_FILES)) ?? NO_GRANT_FILES;
  let stored: StoredGrants = { grants: [], labels: new Map(), problems: [] };
  let all: readonly Grant[] = [...sources.config, ...files.grants];
  let expiry: Date | undefined;
  let version = 1;
  const failures = new Map<"files" | "rows", string>();

  const changed = (): void => {
    all = [...sources.config, ...files.grants, ...stored.grants];
    expiry = nextExpiry(all, new Date(clock.now()));
    version += 1;
  };
  changed();

  async function attempt(source: "files" | "rows", read: () => Promise<readonly string[]>): Promise<void> {
    try {
      const left = await read();
      if (left.length > 0) {
        const text = `Some grants are not valid and left out: ${left.join("; ")}`;
        throw new ConnectError("CC_CONFIG_INVALID", text);
      }
      if (failures.delete(source)) log.info({ event: "grants.read", source }, "grants are read again");
    } catch (cause) {
      const error = toConnectError(cause);
      if (failures.get(source) !== error.message) {
        log.error({ event: "grants.kept", source, ...errorFields(error) }, "not all grants could be taken");
      }
      failures.set(source, error.message);
      deps.onProblem?.(source);
    }
  }

  async function readFiles(): Promise<readonly string[]> {
    const next = await sources.files?.(files);
    if (next === undefined || next.text === files.text) return files.problems;
    files = next;
    changed();
    log.info({ event: "grants.reloaded", source: "files", grants: files.grants.length }, "grant files reloaded");
    return files.problems;
  }

  async function readRows(): Promise<readonly string[]> {
    const next = await sources.rows();
    if (next === stored) return next.problems;
    stored = next;
    changed();
    return next.problems;
  }

  const refresh = async (): Promise<void> => {
    await Promise.all([attempt("files", readFiles), attempt("rows", readRows)]);
  };

  return {
    decide: (principal, id, upstream) =>
      decide(principal, { id, labels: stored.labels.get(id) ?? {}, upstream }, all, new Date(clock.now())),
    grants: () => all,
    get version() {
      if (expiry !== undefined && clock.now() >= expiry.getTime()) changed();
      return version;
    },
    problems: () => [...failures].map(([source, text]) => `${source}: ${text}`),
    refresh,
    watch: ({ intervalMs = INTERVAL_MS, signal }) => repeat(refresh, { intervalMs, signal }, { clock }),
  };
}
