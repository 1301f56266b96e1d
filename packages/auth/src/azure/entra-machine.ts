import {
  AzureCliCredential,
  ClientAssertionCredential,
  ClientCertificateCredential,
  ClientSecretCredential,
  ManagedIdentityCredential,
  type TokenCredential,
  WorkloadIdentityCredential,
} from "@azure/identity";
import { raceAbort } from "@cluster-connect/base";
import { authorityOptions, toEntraToken } from "./entra-authority.ts";
import { type EntraClient, type EntraMachine, type EntraToken, entraScope } from "./entra-client.ts";
import { entraError } from "./entra-error.ts";
import { type EntraDeps, type EntraTraffic, watchTraffic } from "./entra-traffic.ts";

/**
 * Gets a token for an audience without a person.
 *
 * @throws ConnectError `CC_LOGIN_FAILED`, `CC_ISSUER_UNREACHABLE` or what `unreachable` makes.
 */
export async function getEntraMachineToken(
  client: EntraClient,
  machine: EntraMachine,
  audience: string,
  options: { readonly signal: AbortSignal },
  deps: EntraDeps,
): Promise<EntraToken> {
  const traffic = watchTraffic(options);
  try {
    const credential = credentialOf(client, machine, traffic);
    const got = credential.getToken(entraScope(audience), { abortSignal: options.signal });
    return toEntraToken(await raceAbort(got, options.signal));
  } catch (error) {
    throw entraError(error, traffic.answer, { ...options, renewal: false }, deps);
  }
}

function credentialOf(client: EntraClient, machine: EntraMachine, traffic: EntraTraffic): TokenCredential {
  const { tenantId, clientId } = client;
  const options = { ...authorityOptions(client), ...traffic.options };
  switch (machine.kind) {
    case "secret":
      return new ClientSecretCredential(tenantId, clientId, machine.secret, options);
    case "certificate":
      return new ClientCertificateCredential(tenantId, clientId, { certificatePath: machine.path }, options);
    case "federatedTokenFile":
      return new WorkloadIdentityCredential({ ...options, clientId, tokenFilePath: machine.path });
    case "assertion":
      return new ClientAssertionCredential(tenantId, clientId, machine.assertion, options);
    case "managedIdentity": {
      const own = machine.clientId === undefined ? {} : { clientId: machine.clientId };
      return new ManagedIdentityCredential({ ...traffic.options, ...own });
    }
    case "azureCli":
      return new AzureCliCredential({ tenantId });
  }
}
