/** A store of this machine's system for small secrets, each under a name; only this user can read them. */
export interface KeyStore {
  /** How people know it. */
  readonly name: string;
  /** @throws when it cannot be read now, for example because it is locked. */
  read(account: string, options: { readonly signal: AbortSignal }): Promise<string | undefined>;
  write(account: string, secret: string, options: { readonly signal: AbortSignal }): Promise<void>;
  remove(account: string, options: { readonly signal: AbortSignal }): Promise<void>;
}
