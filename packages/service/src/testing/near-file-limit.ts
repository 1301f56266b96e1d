import { type FileHandle, open } from "node:fs/promises";

/** Files between the limit and those that are open when it is chosen: room for what a test sets up. */
const ROOM = 64;

/** A limit of open files that this process comes to once it takes the rest of them. Gives them back when disposed of. */
export interface NearFileLimit extends AsyncDisposable {
  readonly limit: number;
  /** Takes files until every further one of this process is one of the last. */
  take(): Promise<void>;
}

/** Chooses a limit that is near. The system gives the lowest free number, so numbers tell how many files there are. */
export async function nearFileLimit(): Promise<NearFileLimit> {
  const files: FileHandle[] = [];
  const takeOne = async (): Promise<number> => {
    const file = await open("/dev/null");
    files.push(file);
    return file.fd;
  };
  const limit = (await takeOne()) + ROOM;
  return {
    limit,
    async take() {
      while ((await takeOne()) < limit);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(files.map((file) => file.close()));
    },
  };
}
