import { randomBytes } from "node:crypto";
import { type InstanceId, parseInstanceId } from "@cluster-connect/protocol";

/** A new id for this process, from start to exit: 128 random bits. */
export function createInstanceId(random: (size: number) => Buffer = randomBytes): InstanceId {
  return parseInstanceId(random(16).toString("base64url"));
}
