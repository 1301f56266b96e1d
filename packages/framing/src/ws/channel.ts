import type { Duplex } from "node:stream";
import type { Timer } from "@cluster-connect/base";
import { discard } from "../bytes/discard.ts";
import {
  type ChannelEnd,
  type ChannelListener,
  CLOSE_LOST,
  CLOSE_NORMAL,
  CLOSE_POLICY,
  type MessageChannel,
} from "../channel.ts";
import type { WebSocketDeps } from "./deps.ts";
import type { DirectRead } from "./direct-read.ts";
import { createOutgoing, type Masking } from "./outgoing.ts";
import { createPongs } from "./pongs.ts";
import { createWireReader, OPCODE } from "./wire.ts";

/** The low mark of `bufferedBytes`: when it falls below, `drain` is called. */
const LOW_BYTES = 131_072;
/** How long a close waits for the peer's answer before the socket is dropped. */
const CLOSE_TIMEOUT_MS = 3_000;
const NO_STATUS = 1005;
/**
 * Bytes that a peer of any kind may send before it is admitted. They are a handshake, and a dialer's bytes behind it in
 * one or two reads of a socket. A peer that sends more has no credential to show.
 */
const MAX_EARLY_BYTES = 524_288;

export interface SocketChannelOptions {
  /** Bytes that came with the upgrade. */
  readonly head: Uint8Array;
  readonly masking: Masking;
  /** How the socket reads, where it was made for that. */
  readonly direct?: DirectRead | undefined;
}

/** A channel over a socket whose upgrade to WebSocket is done. */
export function socketChannel(
  socket: Duplex,
  { head, masking, direct }: SocketChannelOptions,
  deps: WebSocketDeps,
): MessageChannel {
  let listener: ChannelListener | undefined;
  let state: "open" | "closing" | "closed" = "open";
  let paused = false;
  let waitsForDrain = false;
  let end: ChannelEnd = { code: CLOSE_LOST, reason: "" };
  let closeReported = false;
  let closeTimer: Timer | undefined;
  // The peer has broken a rule: nothing that it still sends is looked at.
  let ignoresPeer = false;
  // Bytes that came before the peer was admitted; undefined since then.
  let earlyBytes: number | undefined = 0;

  const reader = createWireReader(masking === "none", {
    bytes(piece) {
      if (state === "open") listener?.message(piece);
    },
    ping(payload) {
      if (state === "open" && earlyBytes === undefined) pongs.ping(payload);
    },
    close(code, reason) {
      end = { code: code === NO_STATUS ? CLOSE_NORMAL : code, reason };
      beginClose(end.code, "");
      outgoing.end();
    },
  });
  const outgoing = createOutgoing(socket, masking, deps, () => {
    if (state === "open") pongs.written();
    if (!waitsForDrain || outgoing.bytes > LOW_BYTES) return;
    waitsForDrain = false;
    listener?.drain();
  });

  const pongs = createPongs((payload) => outgoing.control(OPCODE.pong, payload));

  function read(chunk: Uint8Array): void {
    if (ignoresPeer) return;
    const broken = reader.push(chunk);
    if (broken !== undefined) breakOff(broken);
    else if (earlyBytes !== undefined) countEarly(chunk.length, earlyBytes);
  }

  /** The peer has broken a rule: it is told by a close, and nothing that it still sends is looked at. */
  function breakOff(code: number): void {
    ignoresPeer = true;
    if (state !== "open") return;
    end = { code, reason: "" };
    beginClose(code, "");
    outgoing.end();
  }

  function countEarly(bytes: number, before: number): void {
    earlyBytes = before + bytes;
    if (earlyBytes <= MAX_EARLY_BYTES) return;
    breakOff(CLOSE_POLICY);
    // It may send for as long as it likes. The part of the answer that it has not read by now is lost to it.
    socket.pause();
    socket.once("finish", () => socket.destroy());
  }

  function beginClose(code: number, reason: string): void {
    if (state !== "open") return;
    state = "closing";
    const text = Buffer.from(reason.slice(0, 100));
    const payload = Buffer.alloc(2 + text.length);
    payload.writeUInt16BE(code, 0);
    text.copy(payload, 2);
    if (socket.writable) outgoing.control(OPCODE.close, payload);
    closeTimer = deps.clock.setTimer(CLOSE_TIMEOUT_MS, () => socket.destroy());
  }

  function onClosed(): void {
    state = "closed";
    closeTimer?.cancel();
    reportClose();
  }

  function reportClose(): void {
    if (closeReported || state !== "closed" || listener === undefined) return;
    closeReported = true;
    listener.close(end);
  }

  socket.pause();
  if (direct === undefined) {
    socket.on("data", (chunk: Buffer) => {
      read(chunk);
      discard(chunk);
    });
  }
  socket.on("end", () => outgoing.end());
  // The close that follows an error says its meaning.
  socket.on("error", () => {});
  socket.on("close", onClosed);
  if (socket.destroyed) onClosed();

  return {
    get bufferedBytes() {
      return outgoing.bytes;
    },
    listen(next) {
      listener = next;
      // In a turn of its own, so that the listener has finished setting itself up.
      queueMicrotask(() => {
        if (head.length > 0) read(head);
        direct?.begin(read);
        if (!paused) socket.resume();
        reportClose();
      });
    },
    append(parts) {
      if (state === "open" && socket.writable) outgoing.append(parts);
    },
    flush() {
      waitsForDrain = true;
      outgoing.flush();
    },
    admit() {
      earlyBytes = undefined;
    },
    pause() {
      paused = true;
      socket.pause();
    },
    resume() {
      paused = false;
      if (listener !== undefined) socket.resume();
    },
    close(code, reason) {
      paused = false;
      socket.resume();
      beginClose(code, reason);
    },
    terminate() {
      socket.destroy();
    },
  };
}
