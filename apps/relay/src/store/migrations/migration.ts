import type { Transaction } from "kysely";
import type { Dialect } from "../open/dialect.ts";
import type { Database } from "../schema.ts";

/** Takes the schema one version further. */
export type Migration = (transaction: Transaction<Database>, dialect: Dialect) => Promise<void>;
