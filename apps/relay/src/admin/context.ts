import type { GrantBook } from "../grants/grant-book.ts";
import type { RecordDeps } from "./cluster-records.ts";
import type { StatusFeed } from "./status-feed.ts";

/** What the routes of administrators need of a running relay. */
export interface AdminContext extends RecordDeps {
  readonly grants: GrantBook;
  readonly statuses: StatusFeed;
  readonly now: () => number;
}
