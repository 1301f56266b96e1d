/** Bytes a stream may send before it is another stream's turn. */
export const TURN_BYTES = 16_384;

/** Something that has DATA to send. The scheduler keeps its own marks per member, so members are plain objects. */
export interface Scheduler<Member extends object> {
  /** Members that wait for a turn. */
  readonly size: number;
  /** The member has something to send; a second call while it waits does nothing. */
  wake(member: Member): void;
  remove(member: Member): void;
  /** The member whose turn it is; undefined when none waits. */
  head(): Member | undefined;
  /** Ends a turn of {@link head}: it sent so many bytes and has more or not. */
  sent(member: Member, bytes: number, more: boolean): void;
}

interface Mark {
  deficit: number;
  waiting: boolean;
}

/**
 * Turns by bytes: deficit round robin with a queue of its own for members that were quiet.
 *
 * A quiet member goes first, once. When it has sent its turn's bytes, it queues behind the busy ones. So a stream of
 * small frames is never stuck behind bulk and cannot starve it. A member without more to send keeps its place among the
 * busy ones until its turn comes, so that pausing does not make it quiet.
 */
export function createScheduler<Member extends object>(): Scheduler<Member> {
  const marks = new Map<Member, Mark>();
  // Sets keep insertion order and delete in constant time: they are the queues.
  const fresh = new Set<Member>();
  const old = new Set<Member>();
  let waiting = 0;

  function first(): Member | undefined {
    for (const member of fresh) return member;
    for (const member of old) return member;
    return undefined;
  }

  function moveToOld(member: Member): void {
    fresh.delete(member);
    old.delete(member);
    old.add(member);
  }

  function remove(member: Member): void {
    if (marks.get(member)?.waiting === true) waiting -= 1;
    marks.delete(member);
    fresh.delete(member);
    old.delete(member);
  }

  return {
    get size() {
      return waiting;
    },
    wake(member) {
      const mark = marks.get(member);
      if (mark === undefined) {
        marks.set(member, { deficit: TURN_BYTES, waiting: true });
        fresh.add(member);
        waiting += 1;
      } else if (!mark.waiting) {
        mark.waiting = true;
        waiting += 1;
      }
    },
    remove,
    head() {
      for (;;) {
        const member = first();
        const mark = member === undefined ? undefined : marks.get(member);
        if (member === undefined || mark === undefined) return undefined;
        if (mark.deficit <= 0) {
          mark.deficit += TURN_BYTES;
          moveToOld(member);
        } else if (mark.waiting) {
          return member;
        } else {
          remove(member);
        }
      }
    },
    sent(member, bytes, more) {
      const mark = marks.get(member);
      if (mark === undefined) return;
      mark.deficit -= bytes;
      if (more) return;
      if (mark.waiting) waiting -= 1;
      mark.waiting = false;
      moveToOld(member);
    },
  };
}
