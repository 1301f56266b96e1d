import { createConnection, type NetConnectOpts, type OnReadOpts, type Socket } from "node:net";

/** As much as a socket reads at once when it is busy, and when it is quiet or has little room. */
const BULK_BYTES = 65_536;
const QUIET_BYTES = 16_384;

/**
 * Memory that sockets read into. Where the system copies bytes while it is asked to read, as everywhere but on Windows,
 * all sockets of a process read into the same.
 */
export interface ReadMemory {
  /** Memory for one socket. */
  acquire(): { readonly bulk: Uint8Array; readonly quiet: Uint8Array };
}

export function createReadMemory(platform: NodeJS.Platform = process.platform): ReadMemory {
  const create = (): ReturnType<ReadMemory["acquire"]> => {
    const bulk = Buffer.allocUnsafeSlow(BULK_BYTES);
    return { bulk, quiet: bulk.subarray(0, QUIET_BYTES) };
  };
  if (platform === "win32") return { acquire: create };
  const shared = create();
  return { acquire: () => shared };
}

/** Where a socket has its {@link SocketReads}. */
const READS: unique symbol = Symbol("reads");

type ReadSocket = Socket & { [READS]?: SocketReads };

/**
 * Connects a socket that has no buffers of its own: it never reads more than its taker has room for, but for one read.
 *
 * @param options as `createConnection` has them.
 */
export function connectSharing(options: NetConnectOpts, memory: ReadMemory): Socket {
  const reads = new SocketReads(memory);
  const socket: ReadSocket = createConnection({ ...options, onread: reads.onread });
  socket[READS] = reads;
  reads.of(socket);
  return socket;
}

/** The reads of a socket that was made by {@link connectSharing}. */
export function readsOf(socket: object): SocketReads | undefined {
  return READS in socket && socket[READS] instanceof SocketReads ? socket[READS] : undefined;
}

/** @returns bytes that there is room for now; at 0 or less the socket stops reading until it is resumed. */
export type TakeBytes = (bytes: Uint8Array) => number;

/** Reads of one socket. Until {@link begin} it reads like any other. */
export class SocketReads {
  readonly onread: OnReadOpts;
  #socket: Socket | undefined;
  #take: TakeBytes | undefined;

  constructor(memory: ReadMemory) {
    const { bulk, quiet } = memory.acquire();
    let next = quiet;
    this.onread = {
      buffer: () => next,
      callback: (count, buffer) => {
        const bytes = buffer.subarray(0, count);
        if (this.#take === undefined) return this.#socket?.push(Buffer.from(bytes)) ?? true;
        const room = this.#take(bytes);
        next = count === buffer.length && room >= BULK_BYTES ? bulk : quiet;
        return room > 0;
      },
    };
  }

  of(socket: Socket): void {
    this.#socket = socket;
  }

  /** From now on every read goes to `take`, first the unread bytes that came. The bytes hold true during the call. */
  begin(take: TakeBytes): void {
    const socket = this.#socket;
    let room = Number.POSITIVE_INFINITY;
    for (let rest: unknown = socket?.read(); rest instanceof Uint8Array; rest = socket?.read()) room = take(rest);
    this.#take = take;
    if (room > 0) socket?.resume();
  }
}
