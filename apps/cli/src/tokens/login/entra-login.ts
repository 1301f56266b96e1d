/** How a login gets its tokens at Entra, by Entra's own library; kept with the login, as secret as the login is. */
export type EntraLogin =
  /** The library's account and its cache with the refresh token. */
  | { readonly kind: "person"; readonly account: string; readonly cache: string }
  | { readonly kind: "secret"; readonly secret: string }
  | { readonly kind: "certificate"; readonly path: string }
  | { readonly kind: "federatedTokenFile"; readonly path: string }
  /** The build service's token, exchanged. */
  | { readonly kind: "pipeline" }
  | { readonly kind: "managedIdentity"; readonly clientId: string | undefined }
  | { readonly kind: "azureCli" };

/** @throws what `text` throws for a field that is none. */
export function parseEntraLogin(
  value: Readonly<Record<string, unknown>>,
  text: (value: unknown, field: string) => string,
  wrong: (field: string) => Error,
): EntraLogin {
  const kind = value["kind"];
  switch (kind) {
    case "person":
      return { kind, account: text(value["account"], "entra.account"), cache: text(value["cache"], "entra.cache") };
    case "secret":
      return { kind, secret: text(value["secret"], "entra.secret") };
    case "certificate":
    case "federatedTokenFile":
      return { kind, path: text(value["path"], "entra.path") };
    case "managedIdentity":
      return {
        kind,
        clientId: value["clientId"] === undefined ? undefined : text(value["clientId"], "entra.clientId"),
      };
    case "pipeline":
    case "azureCli":
      return { kind };
    default:
      throw wrong("entra.kind");
  }
}
