import {
  ConnectError,
  decodeHello,
  decodeReady,
  encodeHello,
  encodeReady,
  type Hello,
  type HelloLimits,
  negotiateMinor,
  OWN_VERSIONS,
  type Secret,
  toConnectError,
} from "@cluster-connect/protocol";
import type { Frame } from "../frames/decode.ts";
import type { FrameReader } from "../hop/frame-reader.ts";
import type { FrameWriter } from "../hop/frame-writer.ts";
import type { AcceptSessionOptions, DialOptions, SessionOptions, SessionReady } from "./options.ts";
import type { SessionEvent, SessionState } from "./state.ts";

/** Each side's own part of a handshake: exactly one is there. */
export interface HandshakeRole {
  readonly dial?: DialOptions;
  readonly accept?: AcceptSessionOptions;
}

/** Dependencies of a handshake: the parts of its session. */
export interface HandshakeDeps {
  readonly writer: FrameWriter;
  /** Reading stops while an answer to HELLO is prepared. */
  readonly reader: () => FrameReader;
  readonly secret: () => Secret;
  readonly state: () => SessionState;
  readonly advance: (event: SessionEvent) => void;
  /** HELLO came: later frames obey its limits. */
  readonly helloReceived: (peer: Hello) => void;
  readonly ready: (ready: SessionReady) => void;
  readonly failed: (error: ConnectError) => void;
}

/** HELLO of both sides, the judgement on the dialer, and READY. */
export class Handshake {
  readonly #role: HandshakeRole;
  readonly #options: SessionOptions;
  readonly #limits: HelloLimits;
  readonly #deps: HandshakeDeps;
  #challenge: Secret | undefined;
  #peer: Hello | undefined;

  constructor(role: HandshakeRole, options: SessionOptions, limits: HelloLimits, deps: HandshakeDeps) {
    this.#role = role;
    this.#options = options;
    this.#limits = limits;
    this.#deps = deps;
  }

  /** The peer's HELLO once it came. */
  get peer(): Hello | undefined {
    return this.#peer;
  }

  /** The acceptor speaks first. */
  begin(): void {
    if (this.#role.accept === undefined) return;
    this.#challenge = this.#deps.secret();
    this.#deps.writer.sendFirst("HELLO", [encodeHello({ ...this.#hello(), challenge: this.#challenge })]);
  }

  /** @throws ConnectError `CC_PROTOCOL` for a frame that does not come now, `CC_VERSION_UNSUPPORTED`. */
  frame(frame: Frame): void {
    const state = this.#deps.state();
    if (frame.type === "HELLO" && state === "awaitingHello") this.#onHello(decodeHello(frame.payload));
    else if (frame.type === "READY" && state === "awaitingReady") this.#onReady(frame.payload);
    else throw new ConnectError("CC_PROTOCOL", `${frame.type} does not go with a session that is ${state}`);
  }

  #hello(): Hello {
    const { role, instanceId, software, liveRelays } = this.#options;
    const own = { versions: OWN_VERSIONS, role, instanceId, software, limits: this.#limits };
    return liveRelays === undefined ? own : { ...own, liveRelays };
  }

  #onHello(peer: Hello): void {
    this.#peer = peer;
    this.#deps.advance("helloReceived");
    const minor = negotiateMinor(OWN_VERSIONS, peer.versions);
    if (minor === undefined) {
      const versions = `${peer.versions.oldestMinor} to ${peer.versions.minor}`;
      throw new ConnectError("CC_VERSION_UNSUPPORTED", `The peer speaks minor versions ${versions}`);
    }
    this.#deps.helloReceived(peer);
    // Frames behind HELLO wait until it is answered.
    this.#deps.reader().hold();
    const answered = this.#role.accept === undefined ? this.#answer(peer) : this.#judge(peer, minor);
    answered.then(
      () => this.#deps.reader().release(),
      (error: unknown) => this.#deps.failed(toConnectError(error)),
    );
  }

  async #answer(peer: Hello): Promise<void> {
    const { writer, state } = this.#deps;
    const agent = await this.#role.dial?.prove?.(peer);
    if (state() !== "awaitingReady") return;
    writer.sendFirst("HELLO", [encodeHello({ ...this.#hello(), ...(agent === undefined ? {} : { agent }) })]);
    writer.open();
  }

  async #judge(peer: Hello, minor: number): Promise<void> {
    const { writer, state, advance, ready } = this.#deps;
    if (this.#role.accept === undefined || this.#challenge === undefined) return;
    const { sessionId } = await this.#role.accept.authenticate(peer, this.#challenge);
    if (state() !== "authenticating") return;
    writer.sendFirst("READY", [encodeReady({ sessionId, minor })]);
    advance("readySent");
    writer.open();
    ready({ sessionId, minor, peer });
  }

  #onReady(payload: Uint8Array): void {
    const peer = this.#peer;
    if (peer === undefined) return;
    const ready = decodeReady(payload);
    if (ready.minor !== negotiateMinor(OWN_VERSIONS, peer.versions)) {
      throw new ConnectError("CC_VERSION_UNSUPPORTED", `The peer wants minor version ${ready.minor}`);
    }
    this.#deps.advance("readyReceived");
    this.#deps.ready({ ...ready, peer });
  }
}
