export type { ClusterUid } from "./agent/cluster-uid.ts";
export { clusterUidFile, isClusterUid, MAX_CLUSTER_UID_CHARACTERS, parseClusterUid } from "./agent/cluster-uid.ts";
export type { HopHealth, ProbeDocument } from "./agent/probe.ts";
export { decodeProbe, encodeProbe } from "./agent/probe.ts";
export { keyRotationInput } from "./agent/rotation.ts";
export type { Secret } from "./agent/secret.ts";
export { parseSecret } from "./agent/secret.ts";
export { clusterAudienceOf, hasOwnAudiences, isAudienceTemplate, isClusterAudience } from "./cluster-audience.ts";
export { codeOfWire, WIRE_OK, wireOf } from "./codes.ts";
export type { ConnectErrorOptions, ErrorCode, ErrorSpec } from "./errors.ts";
export { ConnectError, ERRORS, isErrorCode, toConnectError } from "./errors.ts";
export type { FrameHeader, FrameType } from "./frame.ts";
export { decodeHeader, encodeHeader, FLAG_OPTIONAL, FRAME_TYPE_NUMBERS } from "./frame.ts";
export type { AgentProof, Hello, HelloLimits, Ready, Role } from "./hello.ts";
export {
  agentChallengeInput,
  DEFAULT_HELLO_LIMITS,
  decodeHello,
  decodeReady,
  encodeHello,
  encodeReady,
  OWN_VERSIONS,
} from "./hello.ts";
export type { ClusterId, CorrelationId, InstanceId, KeyId, SessionId, StreamId } from "./ids.ts";
export {
  parseClusterId,
  parseCorrelationId,
  parseInstanceId,
  parseKeyId,
  parseSessionId,
  parseStreamId,
} from "./ids.ts";
export {
  HANDSHAKE_TIMEOUT_MS,
  HEADER_BYTES,
  HOP_ACK_EVERY_BYTES,
  INITIAL_BUDGET_BYTES,
  INITIAL_WINDOW_BYTES,
  MAX_FOLLOWED,
  MAX_JSON_BYTES,
  MAX_MESSAGE_BYTES,
  MAX_PAYLOAD_BYTES,
  MAX_PROXY_HEADER_BYTES,
  MAX_STREAM_ID,
  MAX_STREAMS,
  MAX_TEXT_BYTES,
  MAX_WINDOW_BYTES,
  MIN_WINDOW_BYTES,
  PING_BUSY_INTERVAL_MS,
  PING_IDLE_INTERVAL_MS,
  PING_MISSES,
  RESUME_GRACE_MS,
  SECRET_BYTES,
  SESSION_BUDGET_BYTES,
  UNASKED_BYTES,
} from "./limits.ts";
export type { Accept, Caller, Offsets, Open, Resume, Resumed } from "./open.ts";
export {
  decodeAccept,
  decodeOpen,
  decodeResume,
  decodeResumed,
  encodeAccept,
  encodeOpen,
  encodeResume,
  encodeResumed,
  UPSTREAM_KUBERNETES,
  UPSTREAM_PROBE,
  unaskedBytesOf,
} from "./open.ts";
export type { EndPayload, GoawayPayload, HopAckPayload, WindowPayload } from "./payload.ts";
export {
  decodeEnd,
  decodeGoaway,
  decodeHopAck,
  decodeRelays,
  decodeU64,
  decodeWindow,
  encodeEnd,
  encodeGoaway,
  encodeHopAck,
  encodeRelays,
  encodeU64,
  encodeWindow,
} from "./payload.ts";
export type { DecodedProxyHeader, StreamOrigin } from "./proxy-header.ts";
export { decodeProxyHeader, encodeProxyHeader, encodeProxyQuestion } from "./proxy-header.ts";
export { serverNameOf } from "./server-name.ts";
export type { MinorRange } from "./version.ts";
export { FRAME_VERSION, MINOR_VERSION, negotiateMinor, OLDEST_MINOR_VERSION, SUBPROTOCOL } from "./version.ts";
