import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { describeProblems } from "@cluster-connect/service";

import { z } from "zod";
import { listGrantRows } from "../store/queries/grants.ts";
import type { Store } from "../store/store.ts";
import { compileGrant, GRANT_SCHEMA, type GrantSpec } from "./grant.ts";
import type { StoredGrants } from "./grant-book.ts";

const LABELS = z.record(z.string(), z.string());

/** Every grant of the store, and the labels of enabled clusters. Invalid rows are left out and reported. */
export async function readGrantRows(db: Store["db"]): Promise<StoredGrants> {
  const { grants, clusters } = await listGrantRows(db);
  const problems: string[] = [];
  const each = <T>(what: string, read: () => T): readonly T[] => {
    try {
      return [read()];
    } catch (error) {
      problems.push(`${what}: ${toConnectError(error).message}`);
      return [];
    }
  };
  return {
    grants: grants.flatMap(({ id, spec }) => each(id, () => compileGrant(id, "api", parseSpec(spec)))),
    labels: new Map(
      clusters.flatMap(({ id, labels }) =>
        each(`labels of ${id}`, () => [id, LABELS.parse(JSON.parse(labels))] as const),
      ),
    ),
    problems,
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
