import type { Clock } from "@cluster-connect/base";
import {
  type Forward,
  type ForwardTarget,
  forwardStream,
  type IncomingStream,
  type StreamHost,
  type StreamRequest,
} from "@cluster-connect/framing";
import {
  decodeAccept,
  decodeResumed,
  decodeWindow,
  encodeWindow,
  type StreamId,
  unaskedBytesOf,
} from "@cluster-connect/protocol";
import type { Rate } from "./joint-rate.ts";
import { createPacedFlow, type PacedFlow } from "./paced-flow.ts";

/** A stream that begins waits for the rate too, so that many short ones get no further; but no longer than this. */
const MAX_OPEN_WAIT_MS = 1_000;

/** How long a stream that begins has to wait. */
export function openWaitMs(rate: Rate): number {
  return Math.min(rate.waitMs(), MAX_OPEN_WAIT_MS);
}

/** As `forwardStream`, at a rate: both directions count together. @throws as `forwardStream`. */
export function forwardPaced(
  incoming: Pick<IncomingStream, "gaveUp" | "adopt">,
  target: ForwardTarget,
  request: StreamRequest,
  deps: { readonly rate: Rate; readonly clock: Clock },
): Forward {
  const tells: { up: (payload: Uint8Array) => void; down: (payload: Uint8Array) => void } = {
    up: () => undefined,
    down: () => undefined,
  };
  const windowOf = (consumed: number, windowBytes: number): Uint8Array => encodeWindow({ consumed, windowBytes });
  const up = createPacedFlow((...window) => tells.up(windowOf(...window)), deps);
  const down = createPacedFlow((...window) => tells.down(windowOf(...window)), deps);
  promiseFirst(request, { up, down });
  const opener: ForwardHalf = { taken: up, sent: down };
  const taker: ForwardHalf = { taken: down, sent: up };
  return forwardStream(
    {
      gaveUp: incoming.gaveUp,
      adopt(member) {
        const adopted = incoming.adopt(member);
        const { host, streamId } = adopted;
        tells.up = (payload) => host.send("WINDOW", streamId, [payload]);
        return { ...adopted, host: pacedHost(host, opener) };
      },
    },
    {
      addMember(member, first) {
        const { host, streamId } = target.addMember(member, first);
        tells.down = (payload) => host.send("WINDOW", streamId, [payload]);
        return { streamId, host: pacedHost(host, taker) };
      },
    },
    request,
  );
}

/** One side's part in the stream's two directions. */
interface ForwardHalf {
  /** The direction whose sender is behind this host: credit goes there. */
  readonly taken: PacedFlow;
  /** The direction that leaves by this host. */
  readonly sent: PacedFlow;
}

/** Promises each end's credit of the first frame alone; after a RESUME the answer says it of the opener. */
function promiseFirst(
  request: StreamRequest,
  { up, down }: { readonly up: PacedFlow; readonly down: PacedFlow },
): void {
  switch (request.kind) {
    case "open": {
      const unasked = unaskedBytesOf(request.open);
      up.promise(unasked, unasked);
      down.promise(request.open.windowBytes, request.open.windowBytes);
      return;
    }
    case "resume": {
      const { consumed, windowBytes } = request.resume;
      down.promise(consumed + windowBytes, windowBytes);
    }
  }
}

/** Frames pass as they are, but for WINDOW. */
function pacedHost(host: StreamHost, { taken, sent }: ForwardHalf): StreamHost {
  const onWindow = (payload: Uint8Array): void => {
    const { consumed, windowBytes } = decodeWindow(payload);
    taken.credit(consumed, windowBytes);
  };
  const onAnswer = (type: "ACCEPT" | "RESUMED", payload: Uint8Array): void => {
    const answer = type === "ACCEPT" ? { consumed: 0, ...decodeAccept(payload) } : decodeResumed(payload);
    taken.promise(answer.consumed + answer.windowBytes, answer.windowBytes);
  };
  return {
    send(type, streamId: StreamId, parts) {
      const [payload = new Uint8Array(0)] = parts;
      if (type === "WINDOW") return onWindow(payload);
      if (type === "DATA") for (const part of parts) sent.passed(part.length);
      else if (type === "ACCEPT" || type === "RESUMED") onAnswer(type, payload);
      host.send(type, streamId, parts);
    },
    wake: (member) => host.wake(member),
    release(streamId, member) {
      taken.end();
      sent.end();
      host.release(streamId, member);
    },
    resumed: () => host.resumed(),
    now: () => host.now(),
    slabs: host.slabs,
    maxWindowBytes: host.maxWindowBytes,
    initialWindows: host.initialWindows,
    windows: host.windows,
    buffers: host.buffers,
  };
}
