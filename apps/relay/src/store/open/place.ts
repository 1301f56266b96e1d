import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { readSettingFile } from "@cluster-connect/service";
import type { StorePlace } from "../store.ts";

/** Settings of the store. */
export interface StoreSettings {
  /** A folder for the SQLite file. */
  readonly dataDir?: string | undefined;
  readonly store?:
    | {
        /** Path of the SQLite file. */
        readonly sqlite?: string | undefined;
        /** Address of a PostgreSQL database, or a file that holds it. */
        readonly postgres?: { readonly url?: string | undefined; readonly urlFile?: string | undefined } | undefined;
      }
    | undefined;
}

const FILE_NAME = "relay.db";

/** The SQLite store of a data folder. */
export function placeInFolder(dataDir: string): StorePlace {
  return { kind: "sqlite", file: join(dataDir, FILE_NAME) };
}

/** How many stores the settings name; one is right. */
export function countPlaces({ dataDir, store }: StoreSettings): number {
  const named = [dataDir, store?.sqlite, store?.postgres?.url, store?.postgres?.urlFile];
  return named.filter((place) => place !== undefined).length;
}

/**
 * Where the settings say that the store is.
 *
 * @throws ConnectError `CC_CONFIG_INVALID` when they name none, `CC_FILE_MISSING` or `CC_FILE_UNREADABLE`.
 */
export async function readStorePlace({ dataDir, store }: StoreSettings): Promise<StorePlace> {
  if (store?.sqlite !== undefined) return { kind: "sqlite", file: store.sqlite };
  const { url, urlFile } = store?.postgres ?? {};
  if (url !== undefined) return { kind: "postgres", url };
  if (urlFile !== undefined) {
    const text = await readSettingFile("store.postgres.urlFile", urlFile);
    return { kind: "postgres", url: text.trim() };
  }
  if (dataDir !== undefined) return placeInFolder(dataDir);
  throw new ConnectError("CC_CONFIG_INVALID", "store: expected a place for the store, or dataDir");
}
