import { resolve } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { readTextFile } from "../files/text-file.ts";
import type { EntraLogin } from "../tokens/login/entra-login.ts";
import { findPipeline } from "../tokens/pipeline/pipeline.ts";

/** Flags of `login` for Entra, named as `az login` names them where it has them. */
export interface EntraFlags {
  /** The issuer is Entra although its host is not one of Microsoft's. */
  readonly entra?: boolean;
  readonly tenant?: string;
  readonly clientId?: string;
  readonly servicePrincipal?: boolean;
  readonly certificate?: string;
  /** `-` reads it from standard input. */
  readonly clientSecretFile?: string;
  readonly federatedTokenFile?: string;
  readonly identity?: boolean;
  readonly azureCli?: boolean;
}

type MachineLogin = Exclude<EntraLogin, { readonly kind: "person" }>;

const PROOFS = ["certificate", "clientSecretFile", "federatedTokenFile"] as const;

/**
 * How a machine signs in by these flags; undefined when a person does.
 *
 * @throws ConnectError `CC_USAGE` when they contradict each other or nothing proves the service principal.
 */
export async function findMachineLogin(flags: EntraFlags, deps: CliDeps): Promise<MachineLogin | undefined> {
  const proofs = PROOFS.filter((name) => flags[name] !== undefined);
  const isService = flags.servicePrincipal === true || proofs.length > 0;
  const ways = [isService, flags.identity === true, flags.azureCli === true].filter(Boolean).length;
  if (ways > 1)
    throw new ConnectError("CC_USAGE", "--service-principal, --identity and --azure-cli exclude each other");
  if (proofs.length > 1) {
    throw new ConnectError(
      "CC_USAGE",
      "--certificate, --client-secret-file and --federated-token-file exclude each other",
    );
  }
  if (flags.identity === true) return { kind: "managedIdentity", clientId: flags.clientId };
  if (flags.azureCli === true) return { kind: "azureCli" };
  return isService ? await findProof(flags, deps) : undefined;
}

/** The proof of a service principal: a flag, else the variables that Azure's own tools know, else this job's token. */
async function findProof(flags: EntraFlags, deps: CliDeps): Promise<MachineLogin> {
  const env = (name: string): string | undefined => deps.env[name] || undefined;
  if (flags.clientSecretFile !== undefined) {
    const read = flags.clientSecretFile === "-" ? deps.stdin.readAll() : readTextFile(flags.clientSecretFile);
    const secret = (await read).trim();
    if (secret === "") throw new ConnectError("CC_USAGE", "--client-secret-file holds no secret");
    return { kind: "secret", secret };
  }
  const certificate = flags.certificate;
  if (certificate !== undefined) return { kind: "certificate", path: resolve(certificate) };
  const federated = flags.federatedTokenFile ?? env("AZURE_FEDERATED_TOKEN_FILE");
  if (federated !== undefined) return { kind: "federatedTokenFile", path: resolve(federated) };
  const fromEnv = env("AZURE_CLIENT_CERTIFICATE_PATH");
  if (fromEnv !== undefined) return { kind: "certificate", path: resolve(fromEnv) };
  const secret = env("AZURE_CLIENT_SECRET");
  if (secret !== undefined) return { kind: "secret", secret };
  if (findPipeline(deps) !== undefined) return { kind: "pipeline" };
  throw new ConnectError("CC_USAGE", "Nothing proves who the service principal is", {
    hint: "Give --certificate, --client-secret-file or --federated-token-file, or set AZURE_CLIENT_SECRET.",
  });
}
