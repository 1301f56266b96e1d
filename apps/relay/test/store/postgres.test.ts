import { missingPostgres, startTestPostgres } from "@cluster-connect/service/testing";
import { sql } from "kysely";
import { expect, onTestFinished, test, vi } from "vitest";
import { openPostgres } from "../../src/store/postgres.ts";

test.skipIf(missingPostgres() !== undefined)(
  "a database that ends between two queries of a transaction fails that one and nothing else",
  async () => {
    const postgres = await startTestPostgres();
    onTestFinished(() => postgres.stop());
    const errors: Error[] = [];
    const db = openPostgres(await postgres.createDatabase(), { onIdleError: (error) => errors.push(error) });
    onTestFinished(() => db.destroy());
    const transaction = db.transaction().execute(async (inside) => {
      await sql`select 1`.execute(inside);
      await postgres.pause();
      await vi.waitUntil(() => errors.length > 0, 10_000);
      await sql`select 2`.execute(inside);
    });
    await expect(transaction).rejects.toThrow();
    await postgres.resume();
    await expect(sql`select 3 as found`.execute(db)).resolves.toMatchObject({ rows: [{ found: 3 }] });
  },
);
