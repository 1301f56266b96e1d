import { ConnectError, MAX_STREAM_ID, parseStreamId, type StreamId } from "@cluster-connect/protocol";
import type { StreamMember } from "../stream/member.ts";
import type { SessionSide } from "./state.ts";

/** The streams of a session by id: which are open, which are over, which never were. */
export interface StreamTable {
  readonly size: number;
  /** Highest id the peer opened so far. */
  readonly lastPeerId: StreamId;
  /** Whether an id is this side's to open. */
  isOwn(id: StreamId): boolean;
  get(id: StreamId): StreamMember | undefined;
  /** Whether the id was opened at some time, by whichever side. */
  known(id: StreamId): boolean;
  countOf(who: "own" | "peer"): number;
  /** @throws ConnectError `CC_DRAINING` when the ids are used up. */
  addOwn(member: StreamMember): StreamId;
  /** @throws ConnectError `CC_PROTOCOL` when the id is not the peer's or does not grow. */
  addPeer(id: StreamId): void;
  set(id: StreamId, member: StreamMember): void;
  /** @returns whether this member had the id. */
  remove(id: StreamId, member: StreamMember): boolean;
  /** Removes and returns everything. */
  clear(): StreamMember[];
}

/** @param firstOwn id of the first stream that this side opens; the lowest one of its parity without it. */
export function createStreamTable(side: SessionSide, firstOwn: number = side === "dialer" ? 1 : 2): StreamTable {
  const members = new Map<StreamId, StreamMember>();
  const ownParity = side === "dialer" ? 1 : 0;
  let nextOwn = firstOwn;
  let lastPeerId = parseStreamId(0);
  let own = 0;
  const isOwn = (id: StreamId): boolean => id % 2 === ownParity;

  return {
    get size() {
      return members.size;
    },
    get lastPeerId() {
      return lastPeerId;
    },
    isOwn,
    get: (id) => members.get(id),
    known: (id) => (isOwn(id) ? id < nextOwn : id <= lastPeerId),
    countOf: (who) => (who === "own" ? own : members.size - own),
    addOwn(member) {
      if (nextOwn > MAX_STREAM_ID) throw new ConnectError("CC_DRAINING", "The session has used all its stream ids");
      const id = parseStreamId(nextOwn);
      nextOwn += 2;
      own += 1;
      members.set(id, member);
      return id;
    },
    addPeer(id) {
      if (isOwn(id) || id <= lastPeerId) {
        throw new ConnectError("CC_PROTOCOL", `The peer may not open a stream with id ${id}`);
      }
      lastPeerId = id;
    },
    set: (id, member) => {
      members.set(id, member);
    },
    remove(id, member) {
      if (members.get(id) !== member) return false;
      members.delete(id);
      if (isOwn(id)) own -= 1;
      return true;
    },
    clear() {
      const all = [...members.values()];
      members.clear();
      own = 0;
      return all;
    },
  };
}
