import { setImmediate as nextTurn } from "node:timers/promises";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { describeProblems } from "@cluster-connect/service";
import { z } from "zod";
import { listGrantRows } from "../store/queries/grants.ts";
import type { Store } from "../store/store.ts";
import { compileGrant, GRANT_SCHEMA, type Grant, type GrantSpec } from "./grant.ts";
import type { StoredGrants } from "./grant-book.ts";
import type { Labels } from "./label-selector.ts";

const LABELS = z.record(z.string(), z.string());

/** A condition takes a third of a millisecond to compile: bytes of streams go on between so many rows. */
const ROWS_PER_TURN = 5;

/** A row as it was read: its text, and its meaning. */
type Read<T> = { readonly text: string } & ({ readonly value: T } | { readonly problem: string });

/** Rows by id, read anew only where their text is another one. */
interface Rows<T> {
  /** @returns whether any row came, went or changed. */
  read(rows: readonly { readonly id: string; readonly text: string }[]): Promise<boolean>;
  readonly values: readonly (readonly [string, T])[];
  readonly problems: readonly string[];
}

/**
 * Reads every grant of the store, and the labels of enabled clusters. Invalid rows are left out and reported. A row that
 * has not changed since the last reading is neither parsed nor compiled again. Without any change the answer is the same
 * object.
 */
export function createGrantRows(db: Store["db"]): () => Promise<StoredGrants> {
  const grants = createRows<Grant>("", (id, text) => compileGrant(id, "api", parseSpec(text)));
  const labels = createRows<Labels>("labels of ", (_id, text) => LABELS.parse(JSON.parse(text)));
  let answer: StoredGrants | undefined;
  return async () => {
    const found = await listGrantRows(db);
    const areNew = await grants.read(found.grants.map(({ id, spec }) => ({ id, text: spec })));
    const haveNew = await labels.read(found.clusters.map(({ id, labels: text }) => ({ id, text })));
    if (answer === undefined || areNew || haveNew) {
      answer = {
        grants: grants.values.map(([, grant]) => grant),
        labels: new Map(labels.values),
        problems: [...grants.problems, ...labels.problems],
      };
    }
    return answer;
  };
}

/** @param what stands before a row's id where its problem is told. */
function createRows<T>(what: string, parse: (id: string, text: string) => T): Rows<T> {
  let known: ReadonlyMap<string, Read<T>> = new Map();

  function readRow(id: string, text: string): Read<T> {
    try {
      return { text, value: parse(id, text) };
    } catch (error) {
      return { text, problem: `${what}${id}: ${toConnectError(error).message}` };
    }
  }

  return {
    async read(rows) {
      const next = new Map<string, Read<T>>();
      let news = 0;
      for (const { id, text } of rows) {
        const former = known.get(id);
        if (former?.text === text) {
          next.set(id, former);
          continue;
        }
        next.set(id, readRow(id, text));
        news += 1;
        if (news % ROWS_PER_TURN === 0) await nextTurn();
      }
      const changed = news > 0 || next.size !== known.size;
      known = next;
      return changed;
    },
    get values() {
      return [...known].flatMap(([id, row]) => ("value" in row ? [[id, row.value] as const] : []));
    },
    get problems() {
      return [...known.values()].flatMap((row) => ("problem" in row ? [row.problem] : []));
    },
  };
}

function parseSpec(text: string): GrantSpec {
  const result = GRANT_SCHEMA.safeParse(JSON.parse(text));
  if (result.success) return result.data;
  throw new ConnectError(
    "CC_STORE_FAILED",
    `A stored grant is not valid: ${describeProblems(result.error).join("; ")}`,
  );
}
