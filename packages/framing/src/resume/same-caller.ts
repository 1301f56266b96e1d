import type { Caller } from "@cluster-connect/protocol";

/** Whether both are one person of one issuer, or both are unknown. */
export function sameCaller(a: Caller | undefined, b: Caller | undefined): boolean {
  return a?.issuer === b?.issuer && a?.subject === b?.subject;
}

/** A key for maps: equal for one caller, different for two. */
export function callerName(caller: Caller | undefined): string {
  return JSON.stringify([caller?.issuer, caller?.subject]);
}
