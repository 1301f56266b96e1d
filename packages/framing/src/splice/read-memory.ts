import { createConnection, type NetConnectOpts, type OnReadOpts, type Socket } from "node:net";

/** As much as a socket reads at once when it is busy, and when it is quiet or has little room. */
const BULK_BYTES = 131_072;
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

/** Takes what a socket reads. */
export interface BytesTaker {
  /** The bytes hold true during the call. @returns whether to go on; the socket else stops until it is resumed. */
  take(bytes: Uint8Array): boolean;
  /** Bytes that the taker has room for when it is its turn. */
  readonly holdRoom: number;
}

/** Reads of one socket. Until {@link begin} it reads like any other. */
export class SocketReads {
  readonly onread: OnReadOpts;
  #socket: Socket | undefined;
  #taker: BytesTaker | undefined;

  constructor(memory: ReadMemory) {
    const { bulk, quiet } = memory.acquire();
    let next = quiet;
    this.onread = {
      buffer: () => next,
      callback: (count, buffer) => {
        const bytes = buffer.subarray(0, count);
        const taker = this.#taker;
        if (taker === undefined) return this.#socket?.push(Buffer.from(bytes)) ?? true;
        const goesOn = taker.take(bytes);
        next = count === buffer.length && taker.holdRoom >= BULK_BYTES ? bulk : quiet;
        return goesOn;
      },
    };
  }

  of(socket: Socket): void {
    this.#socket = socket;
  }

  /** From now on every read goes to the taker, first the unread bytes that came. */
  begin(taker: BytesTaker): void {
    const socket = this.#socket;
    let goesOn = true;
    for (let rest: unknown = socket?.read(); rest instanceof Uint8Array; rest = socket?.read())
      goesOn = taker.take(rest);
    this.#taker = taker;
    if (goesOn) socket?.resume();
  }
}
