export type { ConnectErrorOptions, ErrorCode, ErrorSpec } from "./errors.ts";
export { ConnectError, ERRORS, isErrorCode, toConnectError } from "./errors.ts";
export type { ClusterId, CorrelationId, InstanceId, KeyId, SessionId, StreamId } from "./ids.ts";
export {
  parseClusterId,
  parseCorrelationId,
  parseInstanceId,
  parseKeyId,
  parseSessionId,
  parseStreamId,
} from "./ids.ts";
