export { ACCESS_DECISION, type AccessDecision } from "./access.ts";
export {
  ADMIN_AGENT,
  ADMIN_CLUSTER,
  AGENT_KEY,
  AUDIT_ENTRY,
  CALLER_SESSION,
  DONE,
  ENROLLMENT_CODE,
  GRANT,
  MADE_CODE,
  pageAnswer,
  REMOVED_CLUSTER,
  REVOKED_KEY,
} from "./admin.ts";
export { CLUSTERS_ANSWER, type ClusterState, type ListedCluster } from "./clusters.ts";
export {
  ENROLL_REQUEST,
  ENROLLED_KEY,
  type EnrolledKey,
  type EnrollRequest,
  ROTATE_REQUEST,
  type RotateRequest,
} from "./enroll.ts";
export { CLUSTER_UID_FIELD, SIGNATURES_FIELD } from "./fields.ts";
export { LOGIN, type LoginSettings, RELAY_INFO, type RelayInfo, type ResourceParameter } from "./login.ts";
export { PROBLEM, REFUSAL } from "./problem.ts";
export { wrongField } from "./wrong-field.ts";
