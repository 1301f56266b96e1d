import type { Principal } from "@cluster-connect/auth";
import type { GrantBook } from "../grants/grant-book.ts";
import type { RelayIds } from "../ids.ts";
import type { StatusFeed } from "../status/feed.ts";
import type { RecordDeps } from "./cluster-records.ts";

/** Dependencies of the administrators' routes on a running relay. */
export interface AdminContext extends RecordDeps {
  readonly grants: GrantBook;
  readonly statuses: StatusFeed;
  readonly now: () => number;
  /** Whether a caller let in earlier as an administrator with read access would be let in now. */
  readonly stillAdmits: (principal: Principal) => boolean;
  readonly ids: Pick<RelayIds, "grantId">;
}
