import type { Principal } from "@cluster-connect/auth";
import { toConnectError } from "@cluster-connect/protocol";
import { type Clock, errorFields, type Logger, repeat } from "@cluster-connect/service";
import { type Decision, decide, nextExpiry } from "./decide.ts";
import type { GrantFiles } from "./directory.ts";
import type { Grant } from "./grant.ts";
import type { Labels } from "./label-selector.ts";

/** What the store says: grants made through the API, and the labels of every enabled cluster. */
export interface StoredGrants {
  readonly grants: readonly Grant[];
  readonly labels: ReadonlyMap<string, Labels>;
}

/** Where grants come from. */
export interface GrantSources {
  readonly config: readonly Grant[];
  /** Absent without a directory. @throws ConnectError when it cannot be read or is not valid. */
  readonly files?: (() => Promise<GrantFiles>) | undefined;
  /** @throws when the store is away; what was read before goes on. */
  readonly rows: () => Promise<StoredGrants>;
}

/** Every grant in force, from settings, files and the store; each source keeps its last good state. */
export interface GrantBook {
  decide(principal: Principal, clusterId: string): Decision;
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
 * Opens the book with what settings and files say; rows come with the first refresh.
 *
 * @throws ConnectError for a directory that cannot be read or is not valid: a relay does not start with half its rules.
 */
export async function openGrantBook(
  sources: GrantSources,
  deps: { readonly clock: Clock; readonly log: Logger; readonly onProblem?: (source: "files" | "rows") => void },
): Promise<GrantBook> {
  const { clock, log } = deps;
  let files: GrantFiles = (await sources.files?.()) ?? { grants: [], text: "" };
  let stored: StoredGrants = { grants: [], labels: new Map() };
  let storedText = "";
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

  async function attempt(source: "files" | "rows", read: () => Promise<void>): Promise<void> {
    try {
      await read();
      if (failures.delete(source)) log.info({ event: "grants.read", source }, "grants are read again");
    } catch (cause) {
      const error = toConnectError(cause);
      if (failures.get(source) !== error.message) {
        log.error({ event: "grants.kept", source, ...errorFields(error) }, "the former grants go on");
      }
      failures.set(source, error.message);
      deps.onProblem?.(source);
    }
  }

  async function readFiles(): Promise<void> {
    const next = await sources.files?.();
    if (next === undefined || next.text === files.text) return;
    files = next;
    changed();
    log.info({ event: "grants.reloaded", source: "files", grants: files.grants.length }, "grant files reloaded");
  }

  async function readRows(): Promise<void> {
    const next = await sources.rows();
    const text = JSON.stringify([next.grants.map(({ id, spec }) => [id, spec]), [...next.labels]]);
    if (text === storedText) return;
    [stored, storedText] = [next, text];
    changed();
  }

  const refresh = async (): Promise<void> => {
    await Promise.all([attempt("files", readFiles), attempt("rows", readRows)]);
  };

  return {
    decide: (principal, id) =>
      decide(principal, { id, labels: stored.labels.get(id) ?? {} }, all, new Date(clock.now())),
    grants: () => all,
    get version() {
      if (expiry !== undefined && clock.now() >= expiry.getTime()) changed();
      return version;
    },
    problems: () => [...failures].map(([source, text]) => `${source}: ${text}`),
    refresh,
    watch: ({ intervalMs = INTERVAL_MS, signal }) => repeat(refresh, { intervalMs, signal }, clock),
  };
}
