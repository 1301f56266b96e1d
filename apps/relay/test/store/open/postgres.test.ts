import { missingPostgres, startTestPostgres } from "@cluster-connect/service/testing";
import { sql } from "kysely";
import { expect, onTestFinished, test, vi } from "vitest";
import { openPostgres } from "../../../src/store/open/postgres.ts";

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
      await vi.waitUntil(() => errors.length > 0, { timeout: 30_000 });
      await sql`select 2`.execute(inside);
    });
    await expect(transaction).rejects.toThrow();
    await postgres.resume();
    await expect(sql`select 3 as found`.execute(db)).resolves.toMatchObject({ rows: [{ found: 3 }] });
  },
);

test.skipIf(missingPostgres() !== undefined)(
  "a channel to a server that became read-only is left after the first write that it refuses",
  async () => {
    const postgres = await startTestPostgres();
    onTestFinished(() => postgres.stop());
    const db = openPostgres(await postgres.createDatabase());
    onTestFinished(() => db.destroy());
    await sql`create table notes (text text)`.execute(db);
    await sql`set session characteristics as transaction read only`.execute(db);
    const write = db.transaction().execute((inside) => sql`insert into notes values ('a')`.execute(inside));
    await expect(write).rejects.toMatchObject({ code: "25006" });
    await sql`insert into notes values ('b')`.execute(db);
    await expect(sql`select text from notes`.execute(db)).resolves.toMatchObject({ rows: [{ text: "b" }] });
  },
);
