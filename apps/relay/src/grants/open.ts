import type { Clock } from "@cluster-connect/base";
import type { Logger } from "@cluster-connect/service";
import type { Store } from "../store/store.ts";
import { readGrantFiles, requireGrantFiles } from "./directory.ts";
import { compileGrant, type GrantSpec } from "./grant.ts";
import { type GrantBook, openGrantBook } from "./grant-book.ts";
import { createGrantRows } from "./rows.ts";

/**
 * Opens the grants of settings, files and store.
 *
 * @throws ConnectError for a folder that cannot be read or is not valid.
 */
export async function openGrants(
  settings: { readonly grants: readonly GrantSpec[]; readonly grantsDir?: string | undefined },
  deps: { readonly store: Store; readonly clock: Clock; readonly log: Logger },
): Promise<GrantBook> {
  const { grants, grantsDir } = settings;
  if (grantsDir !== undefined) await requireGrantFiles(grantsDir);
  const book = await openGrantBook(
    {
      config: grants.map((spec, index) => compileGrant(`config/${index}`, "config", spec)),
      files: grantsDir === undefined ? undefined : (former) => readGrantFiles(grantsDir, former),
      rows: createGrantRows(deps.store.db),
    },
    deps,
  );
  await book.refresh();
  return book;
}
