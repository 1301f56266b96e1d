import type { Socket } from "node:net";
import type { Clock } from "@cluster-connect/base";

/** Watches that an upstream that was told something says something, too. */
export interface FirstByteWatch {
  /**
   * @param saidBytes written by the agent itself, before the caller's first byte.
   * @param stands is called when the upstream took the caller's bytes and says nothing, also when it is asked.
   */
  watch(socket: Socket, saidBytes: number, stands: () => void): void;
}

export interface FirstByteWatchDeps {
  readonly clock: Clock;
  /** Asks the upstream over a connection of its own: whether it does anything at all. One question at a time. */
  readonly ask: () => Promise<boolean>;
}

/** An upstream that says nothing for so long is asked whether it is there. */
const LATE_MS = 700;

/**
 * Tells an upstream that stands from one that is slow. Only the time to its first byte counts: a request may take long
 * in an upstream that shook hands.
 */
export function createFirstByteWatch({ clock, ask }: FirstByteWatchDeps): FirstByteWatch {
  let answer: Promise<boolean> | undefined;
  let stood = false;
  /** Sockets that had no byte when they were looked at. */
  const silent = new Set<Socket>();

  async function isThere(): Promise<boolean> {
    const waiting = [...silent].filter(({ bytesRead }) => bytesRead === 0);
    // One that has said something to another caller meanwhile is busy.
    return (await ask()) || waiting.some(({ bytesRead }) => bytesRead > 0);
  }

  async function asked(): Promise<boolean> {
    answer ??= isThere().finally(() => {
      answer = undefined;
    });
    return await answer;
  }

  async function check(socket: Socket, saidBytes: number, stands: () => void): Promise<void> {
    const standsNow = !isOver(socket) && socket.bytesWritten > saidBytes && !(await asked());
    if (isOver(socket)) silent.delete(socket);
    else if (standsNow) {
      stood = true;
      silent.delete(socket);
      stands();
    } else {
      stood = false;
      checkLater(LATE_MS, socket, saidBytes, stands);
    }
  }

  function checkLater(afterMs: number, socket: Socket, saidBytes: number, stands: () => void): void {
    const onClose = (): void => {
      timer.cancel();
      silent.delete(socket);
    };
    const timer = clock.setTimer(afterMs, () => {
      socket.off("close", onClose);
      void check(socket, saidBytes, stands);
    });
    socket.once("close", onClose);
  }

  return {
    // One that stood a moment ago is asked at once.
    watch(socket, saidBytes, stands) {
      silent.add(socket);
      checkLater(stood ? 0 : LATE_MS, socket, saidBytes, stands);
    },
  };
}

function isOver(socket: Socket): boolean {
  return socket.destroyed || socket.bytesRead > 0;
}
