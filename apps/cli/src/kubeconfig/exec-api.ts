import { ConnectError } from "@cluster-connect/protocol";
import { parseJson } from "../json.ts";

/** Versions of the protocol between clients and credential plugins; the first is what clients of today know. */
export const EXEC_API_VERSIONS = ["v1", "v1beta1"] as const;

export type ExecApiVersion = (typeof EXEC_API_VERSIONS)[number];

const GROUP = "client.authentication.k8s.io";

/** The version as an entry and an answer name it. */
export function execApiName(version: ExecApiVersion): string {
  return `${GROUP}/${version}`;
}

/**
 * The version that a credential is answered in.
 *
 * @param info `KUBERNETES_EXEC_INFO`, in which a client says what its entry names; not every client sets it.
 * @param otherwise the version of a client that says none.
 * @throws ConnectError `CC_USAGE` for one that is not known: a client takes no answer of another version.
 */
export function askedExecApi(info: string | undefined, otherwise: ExecApiVersion): ExecApiVersion {
  const asked = info === undefined || info === "" ? undefined : parseJson(info);
  const name = typeof asked === "object" && asked !== null && "apiVersion" in asked ? asked.apiVersion : undefined;
  if (typeof name !== "string") return otherwise;
  const known = EXEC_API_VERSIONS.find((version) => execApiName(version) === name);
  if (known !== undefined) return known;
  throw new ConnectError("CC_USAGE", `KUBERNETES_EXEC_INFO asks for ${JSON.stringify(name.slice(0, MAX_CHARACTERS))}`, {
    hint: `Have the entry's exec.apiVersion be ${EXEC_API_VERSIONS.map(execApiName).join(" or ")}: add it again with --exec-api-version.`,
  });
}

const MAX_CHARACTERS = 100;
