import { missingPostgres, startTestPostgres, type TestPostgres } from "@cluster-connect/service/testing";
import { afterAll, describe, onTestFinished } from "vitest";
import { placeInFolder } from "../../src/store/place.ts";
import { openStore, type Store, type StorePlace } from "../../src/store/store.ts";
import { temporaryFolder } from "./folder.ts";

/** A kind of database that a suite runs on. */
export interface TestDatabase {
  /** Where an empty store may be made. */
  readonly newPlace: () => Promise<StorePlace>;
  /** Opens a store that is closed after the test. */
  readonly open: (place: StorePlace) => Promise<Store>;
}

const NOW = new Date("2026-01-01T00:00:00Z");

async function open(place: StorePlace): Promise<Store> {
  const store = await openStore(place, NOW);
  onTestFinished(() => store.close());
  return store;
}

/** Runs a suite over each database there is; without PostgreSQL on the machine its part is left out by name. */
export function describeStores(suite: (database: TestDatabase) => void): void {
  describe("over SQLite", () => suite({ open, newPlace: async () => placeInFolder(await temporaryFolder()) }));
  const missing = missingPostgres();
  const name = missing === undefined ? "over PostgreSQL" : `over PostgreSQL: ${missing}`;
  describe.skipIf(missing !== undefined)(name, () => {
    let server: Promise<TestPostgres> | undefined;
    afterAll(async () => (await server)?.stop());
    const newPlace = async (): Promise<StorePlace> => {
      server ??= startTestPostgres();
      return { kind: "postgres", url: await (await server).createDatabase() };
    };
    suite({ open, newPlace });
  });
}
