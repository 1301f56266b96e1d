/** Settings of the far end, which ends TLS. */
export interface UpstreamSettings {
  readonly certFile: string;
  readonly keyFile: string;
}
