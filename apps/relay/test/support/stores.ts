import {
  missingPgbouncer,
  missingPostgres,
  startTestPgbouncer,
  startTestPostgres,
  type TestPgbouncer,
  type TestPostgres,
} from "@cluster-connect/service/testing";
import { temporaryFolder } from "@cluster-connect/testkit";
import { afterAll, describe, onTestFinished } from "vitest";
import { placeInFolder } from "../../src/store/open/place.ts";
import { openStore, type Store, type StorePlace } from "../../src/store/store.ts";

/** A kind of database that a suite runs on. */
export interface TestDatabase {
  /** Where an empty store may be made. */
  readonly newPlace: () => Promise<StorePlace>;
  /** Opens a store that is closed after the test. */
  readonly open: (place: StorePlace) => Promise<Store>;
}

type Pooler = Pick<TestPgbouncer, "through" | "stop">;

const NOW = new Date("2026-01-01T00:00:00Z");

async function open(place: StorePlace): Promise<Store> {
  const store = await openStore(place, NOW);
  onTestFinished(() => store.close());
  return store;
}

/** Nothing stands before the server. */
const DIRECT: Pooler = { through: (url) => url, stop: async () => {} };

/** Runs a suite over each database there is; one that is not on the machine is left out by name. */
export function describeStores(suite: (database: TestDatabase) => void): void {
  describe("over SQLite", () => suite({ open, newPlace: async () => placeInFolder(await temporaryFolder()) }));
  const missing = missingPostgres();
  describeServer("over PostgreSQL", missing, suite, async () => DIRECT);
  describeServer("over PgBouncer in transaction mode", missing ?? missingPgbouncer(), suite, startTestPgbouncer);
}

/** @param pool starts the pooler before the server, told of an address there. */
function describeServer(
  name: string,
  missing: string | undefined,
  suite: (database: TestDatabase) => void,
  pool: (url: string) => Promise<Pooler>,
): void {
  describe.skipIf(missing !== undefined)(missing === undefined ? name : `${name}: ${missing}`, () => {
    let server: Promise<TestPostgres> | undefined;
    let pooler: ReturnType<typeof pool> | undefined;
    afterAll(async () => {
      await (await pooler)?.stop();
      await (await server)?.stop();
    });
    const newPlace = async (): Promise<StorePlace> => {
      server ??= startTestPostgres();
      const url = await (await server).createDatabase();
      pooler ??= pool(url);
      return { kind: "postgres", url: (await pooler).through(url) };
    };
    suite({ open, newPlace });
  });
}
